package main

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
)

// TestIdleConnections answers events while there are more idle connections than file descriptors.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	env := programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL)
	p := programtest.Start(t, programtest.Command{
		Path: "/bin/sh",
		Args: []string{"-c", `ulimit -n 400 && exec "$0" "$@"`, programtest.Build(t, programtest.Roomlink), "serve"},
		Env:  env,
	})
	base := p.Address("public")
	p.Line(map[string]string{"message": "started"})
	ctx := roomlinktest.Context(t)
	for range 600 {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatalf("connecting: %v", err)
		}
		defer conn.Close()
	}
	if posted := programtest.Post(t, base, "call-1"); posted.Status != http.StatusAccepted {
		t.Errorf("an event: got status %d, want 202", posted.Status)
	}
	programtest.Ready(t, base, "call-1")
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
}
