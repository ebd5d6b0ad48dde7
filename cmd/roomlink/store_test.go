package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/messages"
)

// TestStoreCheck: a block of the queue is gone. ROOMLINK_ON_LOSS=refuse refuses to start until the
// loss is accepted, and "store check" names the events.
func TestStoreCheck(t *testing.T) {
	t.Parallel()
	env := programtest.ServeEnv(t, "http://127.0.0.1:1")
	check := func(wantCode int, args ...string) storeState {
		t.Helper()
		code, out, text := programtest.Run(t, programtest.Command{
			Args: append([]string{"store", "check", "--json"}, args...),
			Env:  map[string]string{"ROOMLINK_DATA_DIR": env["ROOMLINK_DATA_DIR"]},
		})
		var state storeState
		if err := json.Unmarshal([]byte(out), &state); err != nil || code != wantCode {
			t.Fatalf("store check %v: got exit code %d, %q and %q; want %d and JSON", args, code, out, text, wantCode)
		}
		return state
	}
	p := start(t, env, "serve")
	if got := programtest.Post(t, p.Address("public"), "call-1"); got.Status != http.StatusAccepted {
		t.Fatalf("posting: got %d %v, want 202", got.Status, got.Fields)
	}
	if state := check(0); !state.Running || len(state.Streams) != 0 {
		t.Errorf("while the program runs: got %+v, want no streams", state)
	}
	if code := p.Stop(); code != 0 {
		t.Fatalf("exit code: got %d, want 0", code)
	}
	if state := check(0); state.Running || len(state.Streams) != 3 || state.Streams[0].Messages != 1 {
		t.Errorf("after a stop: got %+v, want three streams and an event", state)
	}

	blocks, err := filepath.Glob(filepath.Join(env["ROOMLINK_DATA_DIR"], "jetstream", "*", "streams", messages.ConversationsStream, "msgs", "*.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("blocks: got %v and error %v, want one", blocks, err)
	}
	if err := os.Remove(blocks[0]); err != nil {
		t.Fatal(err)
	}
	env["ROOMLINK_ON_LOSS"] = "refuse"
	for range 2 {
		p = start(t, env, "serve")
		if code := p.Wait(); code != 1 || !strings.Contains(p.Log(), "roomlink store check --accept-loss") {
			t.Errorf("start: got exit code %d and %q, want 1 and what to do", code, p.Log())
		}
	}
	if state := check(1); len(state.Missing) != 1 || state.Missing[0].InteractionID != "call-1" {
		t.Errorf("missing: got %+v, want call-1", state.Missing)
	}
	if state := check(0, "--accept-loss"); len(state.Missing) != 1 || !state.Accepted {
		t.Errorf("accepted: got %+v, want call-1", state)
	}
	p = start(t, env, "serve")
	if got := programtest.Post(t, p.Address("public"), "call-1"); got.Status != http.StatusAccepted {
		t.Errorf("posting again: got %d %v, want 202", got.Status, got.Fields)
	}
	check(0)
}
