package programtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/internal/web"
)

// The credentials of [ServeEnv]. Each is to be found nowhere but where it belongs.
const (
	AuviousClient  = "auvious-client"
	AuviousSecret  = "auvious-client-secret-44cd"
	APIKey         = "api-key-7f3a91c2d4"
	BasicPassword  = "basic-password-5d8e02"
	TalkdeskSecret = "talkdesk-client-secret-91ab"
	LinkKey        = "link-key-0123456789abcdef0123456789abcdef"
)

// freePort of loopback is chosen by the system.
const freePort = "127.0.0.1:0"

// Auvious is a simulated auvious on a port of its own.
type Auvious struct {
	*simulator.Simulator

	URL string
}

// StartAuvious serves a simulator with the credentials of [ServeEnv] for the length
// of a test.
func StartAuvious(tb testing.TB, config simulator.Config) Auvious {
	tb.Helper()
	config.ClientID, config.ClientSecret = AuviousClient, AuviousSecret
	auvious, err := simulator.New(config)
	if err != nil {
		tb.Fatalf("simulating auvious: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewUnstartedServer(auvious)
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	tb.Cleanup(func() {
		cancel() // answers that hang
		server.Close()
	})
	return Auvious{auvious, server.URL}
}

// ServeEnv is the environment of a "serve" on free ports of loopback, with a data
// directory of its own, that calls an auvious. Every part alone runs with it too,
// once ROOMLINK_NATS_URL is added.
func ServeEnv(tb testing.TB, auviousURL string) map[string]string {
	tb.Helper()
	return map[string]string{
		"ROOMLINK_AUVIOUS_URL":             auviousURL,
		"ROOMLINK_AUVIOUS_CLIENT_ID":       AuviousClient,
		"ROOMLINK_AUVIOUS_CLIENT_SECRET":   AuviousSecret,
		"ROOMLINK_AUVIOUS_APPLICATION_ID":  "app-1",
		"ROOMLINK_AUVIOUS_ORGANIZATION_ID": "org-1",
		"ROOMLINK_TALKDESK_API_KEY":        APIKey,
		"ROOMLINK_TALKDESK_BASIC_USER":     "talkdesk",
		"ROOMLINK_TALKDESK_BASIC_PASSWORD": BasicPassword,
		"ROOMLINK_TALKDESK_CLIENT_ID":      "studio",
		"ROOMLINK_TALKDESK_CLIENT_SECRET":  TalkdeskSecret,
		"ROOMLINK_LINK_KEY":                LinkKey,
		"ROOMLINK_LISTEN":                  freePort,
		"ROOMLINK_OPS_LISTEN":              freePort,
		"ROOMLINK_BROKER_LISTEN":           freePort,
		"ROOMLINK_DATA_DIR":                tb.TempDir(),
		"ROOMLINK_LOG_LEVEL":               "trace",
	}
}

// FreeAddress returns an address of loopback that was free a moment ago. Its port is
// none of those that the system gives to connections, so that it is still free when
// a server that was killed comes back.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	addresses, err := web.FreeAddresses(1)
	if err != nil {
		tb.Fatal(err)
	}
	return addresses[0]
}

// Reply is what an endpoint of ours answers: a status and a flat object.
type Reply struct {
	Status int
	Fields map[string]string
}

// client keeps as many connections as a test has callers.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

// Ask calls an endpoint with the API key. A transport error is a reply of status
// 0, since tests kill what they ask. It may be called from any goroutine, if the
// request itself is well-formed.
func Ask(tb testing.TB, method, url, body string) Reply {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), roomlinktest.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		tb.Errorf("making a request: %v", err)
		return Reply{}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", APIKey)
	response, err := client.Do(request)
	if err != nil {
		return Reply{}
	}
	defer response.Body.Close()
	r := Reply{Status: response.StatusCode}
	if err := json.NewDecoder(response.Body).Decode(&r.Fields); err != nil && !errors.Is(err, io.EOF) {
		return Reply{}
	}
	return r
}

// Visit gets a page without credentials, and goes nowhere from there. What cannot be
// reached has status 0.
func Visit(tb testing.TB, url string) (status int, body string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), roomlinktest.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		tb.Fatalf("making a request: %v", err)
	}
	response, err := client.Transport.RoundTrip(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(text)
}

// StartEvent is the body of a call that starts.
func StartEvent(id string) string {
	return fmt.Sprintf(`{"event":"inbound_call_starts","interaction_id":%q,"contact_id":"contact-%s"}`, id, id)
}

// Post sends the start of a call to a webhook.
func Post(tb testing.TB, base, id string) Reply {
	tb.Helper()
	return Ask(tb, http.MethodPost, base+"/talkdesk/events", StartEvent(id))
}

// Ready waits for the links of a conversation.
func Ready(tb testing.TB, base, id string) map[string]string {
	tb.Helper()
	deadline := time.Now().Add(roomlinktest.Timeout)
	var last Reply
	for time.Now().Before(deadline) {
		last = Ask(tb, http.MethodGet, base+"/links/"+id+"?wait=5s", "")
		if last.Status == http.StatusOK && last.Fields["status"] == "ready" {
			return last.Fields
		}
		if last.Status != http.StatusOK {
			break
		}
	}
	tb.Fatalf("links of %q: got status %d, %q; want ready", id, last.Status, last.Fields["status"])
	return nil
}
