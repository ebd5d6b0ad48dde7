package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
)

// startNATS runs a NATS server that is none of ours.
func startNATS(t *testing.T) string {
	t.Helper()
	return startNATSWith(t, func(*server.Options) {}).ClientURL()
}

func TestDemo(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "demo", "--log-level=info")
	p.AwaitOutput("until Ctrl-C")
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code: got %d, want 0\n%s", code, p.Log())
	}
	out := p.Output()
	for _, want := range []string{
		"agent           http://127.0.0.1:", "customer        http://127.0.0.1:",
		"/open/", "/card/", "curl", "links watch",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not print %q", want)
		}
	}
}

// TestCommands uses the operator's commands on a running "serve".
func TestCommands(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	a.Script(func(call simulator.Call) *simulator.Answer {
		if strings.HasPrefix(call.InteractionID, "bad") && call.Number == 1 {
			return &simulator.Answer{Status: 422, Body: `{"error":"no such customer"}`}
		}
		return nil
	})
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	p := start(t, env, "serve")
	base := p.Address("public")

	run := func(t *testing.T, wantCode int, args ...string) string {
		t.Helper()
		code, stdout, stderr := command(t, env, args...)
		if code != wantCode {
			t.Errorf("roomlink %s: got exit code %d, want %d\n%s", strings.Join(args, " "), code, wantCode, stderr)
		}
		return stdout
	}
	wants := func(t *testing.T, out string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !strings.Contains(out, text) {
				t.Errorf("output without %q:\n%s", text, out)
			}
		}
	}

	wants(t, run(t, 0, "send", "--url", base, "--id", "sent-1"), "202 Accepted", `"status":"accepted"`)
	wants(t, run(t, 0, "send", "--url", base, "--id", "sent-1", "--shape", "digital"), "200 OK", `"status":"duplicate"`)
	programtest.Ready(t, base, "sent-1")
	wants(t, run(t, 0, "links", "get", "sent-1"), "status      ready", "agent       "+a.URL, "generation  1")
	var state struct{ Status string }
	if err := json.Unmarshal([]byte(run(t, 0, "links", "get", "sent-1", "--json")), &state); err != nil || state.Status != "ready" {
		t.Errorf("links get --json: got status %q, %v; want ready", state.Status, err)
	}
	wants(t, run(t, 1, "links", "get", "nobody"), "status      unknown", "contextUrl  "+base+"/open/", "cardUrl     "+base+"/card/")
	wants(t, run(t, 0, "links", "renew", "sent-1"), "status      ready", "generation  2")
	run(t, 1, "links", "renew", "nobody")
	if got := a.Rooms("sent-1"); got != 2 {
		t.Errorf("rooms after a renewal: got %d, want 2", got)
	}

	for _, id := range []string{"bad-1", "bad-2", "bad-3"} {
		programtest.Post(t, base, id)
		programtest.Ask(t, http.MethodGet, base+"/links/"+id+"?wait=20s", "")
	}
	wants(t, run(t, 0, "deadletters", "list"), "bad-1", "bad-2", "bad-3", "rejected", "no such customer")
	wants(t, run(t, 0, "deadletters", "list", "--reason", "expired"), "STORED")
	wants(t, run(t, 0, "deadletters", "show", "bad-1"), `"reason": "rejected"`, `"httpStatus": 422`, `"roomlink.conversation.started.v1"`)
	wants(t, run(t, 0, "deadletters", "replay", "bad-1", "--dry-run"), "1 of 1 would be replayed")
	wants(t, run(t, 0, "deadletters", "replay", "bad-1"), "1 of 1 replayed")
	programtest.Ready(t, base, "bad-1")
	wants(t, run(t, 0, "deadletters", "discard", "bad-2"), "1 of 1 discarded")
	if got := programtest.Ask(t, http.MethodGet, base+"/links/bad-2", ""); got.Fields["status"] != "unknown" {
		t.Errorf("state after a discard: got %q, want unknown", got.Fields["status"])
	}
	run(t, 2, "deadletters", "replay")
	run(t, 1, "deadletters", "replay", "nobody")
	wants(t, run(t, 0, "deadletters", "replay", "--all"), "1 of 1 replayed")
	programtest.Ready(t, base, "bad-3")
	if got := a.Rooms("bad-3"); got != 1 {
		t.Errorf("rooms after a replay: got %d, want 1", got)
	}
}

// TestWatch follows the links of an account by the command.
func TestWatch(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	p := start(t, env, "serve")
	base := p.Address("public")
	programtest.Post(t, base, "watched-1")
	programtest.Ready(t, base, "watched-1")
	watch := start(t, env, "links", "watch", "--json")
	programtest.Post(t, base, "watched-2")
	programtest.Ready(t, base, "watched-2")
	watch.AwaitOutput("watched-2")
	if code := watch.Stop(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
	if out := watch.Output(); !strings.Contains(out, "watched-1") {
		t.Error("the watch leaves out what was there")
	}
}

// TestRefusals gives the program what it must refuse, with a sentence that says
// what to do.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change map[string]string
		args   []string
		code   int
		says   string
	}{
		{"no auvious credentials", map[string]string{"ROOMLINK_AUVIOUS_CLIENT_SECRET": ""}, []string{"serve"}, 2, "ROOMLINK_AUVIOUS_CLIENT_SECRET"},
		{"secret twice", map[string]string{"ROOMLINK_LINK_KEY_FILE": "x"}, []string{"serve"}, 2, "both set"},
		{"secret file missing", map[string]string{"ROOMLINK_LINK_KEY": "", "ROOMLINK_LINK_KEY_FILE": "/nonexistent"}, []string{"serve"}, 2, "no such file"},
		{"short key", map[string]string{"ROOMLINK_LINK_KEY": "short"}, []string{"serve"}, 2, "32 bytes"},
		{"bad account", map[string]string{"ROOMLINK_ACCOUNT": "A.b"}, []string{"serve"}, 2, "ROOMLINK_ACCOUNT"},
		{"half a client", map[string]string{"ROOMLINK_TALKDESK_CLIENT_ID": ""}, []string{"serve"}, 2, "belong together"},
		{"nobody may in", map[string]string{
			"ROOMLINK_TALKDESK_API_KEY": "", "ROOMLINK_TALKDESK_CLIENT_ID": "", "ROOMLINK_TALKDESK_CLIENT_SECRET": "",
			"ROOMLINK_TALKDESK_BASIC_USER": "", "ROOMLINK_TALKDESK_BASIC_PASSWORD": "",
		}, []string{"serve"}, 2, "no credentials of Talkdesk"},
		{"off loopback without a public URL", map[string]string{"ROOMLINK_LISTEN": ":0"}, []string{"serve"}, 2, "ROOMLINK_PUBLIC_URL"},
		{"open off loopback", map[string]string{"ROOMLINK_LISTEN": ":0", "ROOMLINK_PUBLIC_URL": "https://x.example"}, []string{"serve", "--insecure-no-auth"}, 2, "loopback"},
		{"a plain broker off loopback", map[string]string{"ROOMLINK_BROKER_LISTEN": ":0"}, []string{"serve"}, 2, "ROOMLINK_BROKER_TLS_CERT"},
		{"half a certificate of the broker", map[string]string{"ROOMLINK_BROKER_TLS_KEY": "key.pem"}, []string{"serve"}, 2, "belong together"},
		{"public URL without a scheme", map[string]string{"ROOMLINK_PUBLIC_URL": "x.example"}, []string{"serve"}, 2, "absolute"},
		{"auvious by http", map[string]string{"ROOMLINK_AUVIOUS_URL": "http://auvious.example"}, []string{"serve"}, 2, "http"},
		{"size", map[string]string{"ROOMLINK_MAX_BYTES": "much"}, []string{"serve"}, 2, "512MiB"},
		{"sync", map[string]string{"ROOMLINK_SYNC": "never"}, []string{"serve"}, 2, "always"},
		{"a part without a broker", nil, []string{"worker"}, 2, "ROOMLINK_NATS_URL"},
		{
			"a command without a listener",
			map[string]string{"ROOMLINK_BROKER_LISTEN": "off"},
			[]string{"links", "get", "a"},
			2, "ROOMLINK_BROKER_LISTEN is off",
		},
		{"unknown command", nil, []string{"dance"}, 2, "dance"},
		{"unknown level", map[string]string{"ROOMLINK_LOG_LEVEL": "loud"}, []string{"serve"}, 2, "log-level"},
		{"data directory is a file", map[string]string{"ROOMLINK_DATA_DIR": "/dev/null"}, []string{"serve"}, 1, "data directory"},
		{"data directory is a file, and has no link key", map[string]string{
			"ROOMLINK_DATA_DIR": "/dev/null", "ROOMLINK_LINK_KEY": "",
		}, []string{"serve"}, 1, "data directory"},
		{"no operator's password", map[string]string{"ROOMLINK_DATA_DIR": "/nonexistent"}, []string{"links", "get", "x"}, 1, "ROOMLINK_DATA_DIR"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			env := programtest.ServeEnv(t, "http://127.0.0.1:1")
			maps.Copy(env, tc.change)
			code, _, stderr := command(t, env, tc.args...)
			if code != tc.code || !strings.Contains(stderr, tc.says) {
				t.Errorf("got exit code %d, %s\nwant %d and a word of %q", code, stderr, tc.code, tc.says)
			}
		})
	}
}

// TestOneProcessOnly starts a second process on the same data directory.
func TestOneProcessOnly(t *testing.T) {
	t.Parallel()
	env := programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL)
	start(t, env, "serve").Address("public")
	p := start(t, env, "serve")
	if code := p.Wait(); code != 1 || !strings.Contains(p.Log(), "another process uses the data directory") {
		t.Errorf("got exit code %d\n%s\nwant 1, and the data directory named", code, p.Log())
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	p := start(t, programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL), "serve")
	p.Address("public")
	ops := p.Address("operations")
	p.Line(map[string]string{"message": "started"})
	for path, want := range map[string]string{
		"/livez": "[+] process", "/loglevel": "trace", "/readyz": "[+] streams", "/metrics": "roomlink_breaker_state", "/debug/pprof/": "goroutine",
	} {
		if _, got := programtest.Visit(t, ops+path); !strings.Contains(got, want) {
			t.Errorf("%s: got %q; want %q in it", path, got, want)
		}
	}
}
