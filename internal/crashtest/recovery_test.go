//go:build unix

package crashtest_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// TestEndlessRecovery: while the server cannot recover its store, the program is alive, says what it
// waits for, and ends on the first SIGTERM.
func TestEndlessRecovery(t *testing.T) {
	t.Parallel()
	auvious, _ := startAuvious(t)
	env := environment(t, auvious)
	serve := programtest.Command{Args: []string{"serve"}, Env: env}
	p := programtest.Start(t, serve)
	p.Line(map[string]string{"message": "started"})
	p.Kill()
	// Nobody ever writes to this pipe, so the server waits for its content.
	msgs, err := filepath.Glob(filepath.Join(env["ROOMLINK_DATA_DIR"], "jetstream", "*", "streams", messages.LinksStream, "msgs"))
	if err != nil || len(msgs) != 1 {
		t.Fatalf("directory of the links: got %v and error %v, want one", msgs, err)
	}
	if err := syscall.Mkfifo(filepath.Join(msgs[0], "9.blk"), 0o600); err != nil {
		t.Fatalf("making a pipe: %v", err)
	}

	p = programtest.Start(t, serve)
	operations := p.Address("operations")
	roomlinktest.Await(t, "progress", func() bool {
		status, text := programtest.Visit(t, operations+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "recovering stream "+messages.LinksStream)
	})
	if status, text := programtest.Visit(t, operations+"/livez"); status != http.StatusOK {
		t.Errorf("health: got %d %q, want 200", status, text)
	}
	wantCleanStop(t, p)
}
