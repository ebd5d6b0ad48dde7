package main

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
)

// TestSubscriberCommands uses the commands as an operator, and as a subscriber without any
// right of an operator.
func TestSubscriberCommands(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	env["ROOMLINK_SUBSCRIBERS"] = "crm"
	base := start(t, env, "serve").Address("public")

	code, _, stderr := command(t, env, "streams")
	for ; code == 1 && strings.Contains(stderr, "are missing"); code, _, stderr = command(t, env, "streams") {
		continue // the consumers of subscribers are made after the start
	}
	if code != 0 {
		t.Errorf("streams: got exit code %d and %q, want 0", code, stderr)
	}

	crm := maps.Clone(env)
	crm["ROOMLINK_NATS_URL"] = "nats://" + env["ROOMLINK_BROKER_LISTEN"]
	crm["ROOMLINK_NATS_USER"] = "crm@default"
	crm["ROOMLINK_NATS_PASSWORD_FILE"] = filepath.Join(env["ROOMLINK_DATA_DIR"], "subscribers", "crm@default.password")
	delete(crm, "ROOMLINK_DATA_DIR") // it may be on another machine
	watch := start(t, crm, "links", "watch", "--json")
	watch.AwaitLog("from now on")
	programtest.Post(t, base, "call-1")
	watch.AwaitOutput(`"interactionId":"call-1"`)
	if code, out, _ := command(t, crm, "links", "get", "call-1"); code != 0 || !strings.Contains(out, "ready") {
		t.Errorf("links get: got exit code %d and %q, want a ready conversation", code, out)
	}
	if code, out, stderr := command(t, crm, "links", "get", "none"); code != 1 || !strings.Contains(out, "unknown") {
		t.Errorf("links get of nothing: got exit code %d, %q and %q, want 1 and unknown", code, out, stderr)
	}
	for _, args := range [][]string{
		{"links", "renew", "call-1"},
		{"subscribers"},
		{"links", "get", "--account", "other", "call-1"},
	} {
		if code, _, stderr := command(t, crm, args...); code != 2 || !strings.Contains(stderr, "crm@default") {
			t.Errorf("%q as a subscriber: got exit code %d and %q, want 2 and a sentence", args, code, stderr)
		}
	}
	stranger := maps.Clone(crm)
	delete(stranger, "ROOMLINK_NATS_PASSWORD_FILE")
	stranger["ROOMLINK_NATS_PASSWORD"] = "wrong"
	if code, _, stderr := command(t, stranger, "links", "get", "call-1"); code != 1 || !strings.Contains(stderr, "Authorization") {
		t.Errorf("a wrong password: got exit code %d and %q, want 1 and a sentence", code, stderr)
	}
	checkPositions(t, env)
}

// checkPositions lists and removes the subscriber crm.
func checkPositions(t *testing.T, env map[string]string) {
	t.Helper()
	code, out, stderr := command(t, env, "subscribers", "--json")
	var position store.SubscriberPosition
	if err := json.Unmarshal([]byte(out), &position); code != 0 || err != nil ||
		position.Name != "crm" || position.Account != "default" || position.Waiting != 1 {
		t.Errorf("subscribers: got exit code %d, %q and %q, want crm with one waiting", code, out, stderr)
	}
	if code, out, _ := command(t, env, "subscribers"); code != 0 || !strings.Contains(out, "default  crm   links  1") {
		t.Errorf("subscribers: got exit code %d and %q, want a table with crm", code, out)
	}
	if code, _, stderr := command(t, env, "subscribers", "remove", "crm"); code != 0 {
		t.Errorf("removing: got exit code %d and %q, want 0", code, stderr)
	}
	code, _, stderr = command(t, env, "subscribers", "remove", "crm")
	if code != 1 || !strings.Contains(stderr, `account "default" has no subscriber "crm"`) {
		t.Errorf("removing again: got exit code %d and %q, want 1 and a sentence", code, stderr)
	}
	if code, out, stderr := command(t, env, "streams"); code != 1 || !strings.Contains(out, "missing") ||
		!strings.Contains(stderr, "streams apply") {
		t.Errorf("streams: got exit code %d, %q and %q, want 1, and how to make what is missing", code, out, stderr)
	}
	code, out, stderr = command(t, env, "streams", "apply", "--json")
	if code != 0 || !strings.Contains(out, `"consumer":"default_crm","state":"ok"`) {
		t.Errorf("streams apply: got exit code %d, %q and %q, want everything in place", code, out, stderr)
	}
}

// TestStreamsApply makes the streams on a server that has none.
func TestStreamsApply(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"ROOMLINK_NATS_URL": startNATS(t), "ROOMLINK_REPLICAS": "1", "ROOMLINK_ACCOUNT": "acme", "ROOMLINK_SUBSCRIBERS": "crm,board",
	}
	if code, out, _ := command(t, env, "streams"); code != 1 || strings.Count(out, "missing") != 6 {
		t.Errorf("before: got exit code %d and %q, want 1 and six that are missing", code, out)
	}
	for range 2 {
		if code, out, stderr := command(t, env, "streams", "apply"); code != 0 || strings.Count(out, " ok") != 6 {
			t.Errorf("apply: got exit code %d, %q and %q, want all six in place", code, out, stderr)
		}
	}
	if code, _, stderr := command(t, env, "streams"); code != 0 {
		t.Errorf("after: got exit code %d and %q, want 0", code, stderr)
	}
}
