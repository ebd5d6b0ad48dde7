package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// readyTimeout is a little longer than the checks of one request may take.
	readyTimeout = 5 * time.Second
	// maxReady bounds the answer, in bytes.
	maxReady = 64 << 10
)

// CheckReady asks the program that runs at an operations address whether it is ready. It calls report with each result.
func CheckReady(ctx context.Context, s OperationsSettings, report func(Result)) {
	fail := func(remedy, format string, v ...any) {
		report(Result{Check: "ready", State: CheckFailed, Detail: fmt.Sprintf(format, v...), Remedy: remedy})
	}
	address, err := dialAddress(s.OpsListen)
	if err != nil {
		fail("set ROOMLINK_OPS_LISTEN to the address of the running program", "%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		fail("", "%v", err)
		return
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request) // without a proxy
	if err != nil {
		fail("check that roomlink runs with the same ROOMLINK_OPS_LISTEN", "nothing answers at %s: %v", address, err)
		return
	}
	defer response.Body.Close()
	failing := 0
	lines := bufio.NewScanner(io.LimitReader(response.Body, maxReady))
	for lines.Scan() {
		if detail, bad := strings.CutPrefix(lines.Text(), "[-] "); bad {
			failing++
			fail("", "%s", detail)
		}
	}
	switch {
	case response.StatusCode == http.StatusOK:
		report(Result{Check: "ready", State: CheckOK, Detail: "the program at " + address + " is ready"})
	case failing == 0:
		fail("", "the program at %s answers with status %d", address, response.StatusCode)
	}
}

// dialAddress returns the address on this machine of a listener.
func dialAddress(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	switch {
	case err != nil:
		return "", fmt.Errorf("ROOMLINK_OPS_LISTEN: %w", err)
	case port == "0" || port == "":
		return "", fmt.Errorf("ROOMLINK_OPS_LISTEN %q names no port", listen)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "localhost"
		}
	}
	return net.JoinHostPort(host, port), nil
}
