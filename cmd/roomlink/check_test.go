package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"roomlink/internal/app"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
)

// check runs "roomlink check" and returns its results.
func check(t *testing.T, env map[string]string, wantCode int, args ...string) []app.Result {
	t.Helper()
	code, out, text := command(t, env, append([]string{"check", "--json"}, args...)...)
	if code != wantCode {
		t.Fatalf("check %v: got exit code %d, want %d\n%s\n%s", args, code, wantCode, out, text)
	}
	for _, secret := range []string{
		programtest.AuviousSecret, programtest.APIKey, programtest.BasicPassword, programtest.TalkdeskSecret, programtest.LinkKey,
	} {
		if strings.Contains(out+text, secret) {
			t.Errorf("check prints a secret")
		}
	}
	var results []app.Result
	for line := range strings.Lines(out) {
		var result app.Result
		if err := json.Unmarshal([]byte(line), &result); err != nil {
			t.Fatalf("got line %q, want JSON", line)
		}
		results = append(results, result)
	}
	return results
}

// wants looks for a result with a text in its detail or its remedy.
func wants(t *testing.T, results []app.Result, check, state, text string) {
	t.Helper()
	for _, r := range results {
		if r.Check == check && r.State == state && strings.Contains(r.Detail+": "+r.Remedy, text) {
			return
		}
	}
	t.Errorf("got %+v, want %s %s with %q", results, check, state, text)
}

// checkEnv is the environment of a "serve" whose check has no failures.
func checkEnv(t *testing.T, auviousURL string) map[string]string {
	t.Helper()
	env := programtest.ServeEnv(t, auviousURL)
	for _, name := range []string{"ROOMLINK_LISTEN", "ROOMLINK_OPS_LISTEN", "ROOMLINK_BROKER_LISTEN"} {
		env[name] = programtest.FreeAddress(t)
	}
	return env
}

// TestCheck checks before the first start, while the program runs, and after it.
func TestCheck(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	env := checkEnv(t, a.URL)
	env["ROOMLINK_DATA_DIR"] = filepath.Join(t.TempDir(), "new")

	before := check(t, env, 0)
	wants(t, before, "settings", app.CheckOK, "default")
	wants(t, before, "data", app.CheckWarning, "the first start makes it")
	wants(t, before, "listen", app.CheckOK, env["ROOMLINK_BROKER_LISTEN"])
	wants(t, before, "auvious", app.CheckOK, "issued an access token")
	wants(t, before, "clock", app.CheckOK, "agree on the time")
	wants(t, before, "public", app.CheckWarning, "not reachable")
	if _, err := os.Stat(env["ROOMLINK_DATA_DIR"]); err == nil {
		t.Error("the check made the data directory")
	}
	wants(t, check(t, env, 1, "--ready"), "ready", app.CheckFailed, "nothing answers")

	p := start(t, env, "serve")
	p.Line(map[string]string{"message": "started"})
	running := check(t, env, 0)
	wants(t, running, "broker", app.CheckOK, "\"roomlink serve\" runs")
	wants(t, running, "streams", app.CheckOK, "3 of 3")
	wants(t, running, "clock", app.CheckOK, "the broker")
	wants(t, running, "public", app.CheckOK, "roomlink answers")
	wants(t, running, "file", app.CheckOK, "can be read")
	wants(t, check(t, env, 0, "--ready"), "ready", app.CheckOK, env["ROOMLINK_OPS_LISTEN"])
	if rooms := a.RoomsByInteraction(); len(rooms) != 0 {
		t.Errorf("got rooms %v without --room, want none", rooms)
	}
	wants(t, check(t, env, 0, "--room"), "room", app.CheckOK, "made a room")
	if rooms := a.RoomsByInteraction(); len(rooms) != 1 {
		t.Errorf("got rooms %v with --room, want one", rooms)
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code of serve: got %d, want 0", code)
	}
	wants(t, check(t, env, 0), "broker", app.CheckOK, "can be started")
}

// TestCheckFailures breaks one thing after the other.
func TestCheckFailures(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	busy := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(busy.Close)
	unready := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("[+] streams\n[-] broker: not connected\n"))
	}))
	t.Cleanup(unready.Close)
	slowClock := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		a.ServeHTTP(w, r)
	}))
	t.Cleanup(slowClock.Close)
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"open-key": programtest.APIKey, "accounts.yaml": "accounts:\n  - {name: acme, colour: red}\n"})
	if err := os.Chmod(filepath.Join(dir, "open-key"), 0o644); err != nil {
		t.Fatal(err)
	}
	ended, valid := t.TempDir(), t.TempDir()
	writeFiles(t, ended, selfSigned(t, "ended", time.Now().Add(-time.Minute)))
	writeFiles(t, valid, selfSigned(t, "valid", time.Now().Add(time.Hour)))

	for name, test := range map[string]struct {
		env         map[string]string
		args        []string
		code        int
		check, text string
	}{
		"accounts file": {
			map[string]string{
				"ROOMLINK_ACCOUNTS": filepath.Join(dir, "accounts.yaml"), "ROOMLINK_AUVIOUS_CLIENT_SECRET": "",
				"ROOMLINK_TALKDESK_API_KEY": "", "ROOMLINK_TALKDESK_BASIC_PASSWORD": "", "ROOMLINK_TALKDESK_CLIENT_SECRET": "",
			},
			nil, 1, "settings", "colour",
		},
		"secret that is missing":  {map[string]string{"ROOMLINK_AUVIOUS_CLIENT_SECRET": ""}, nil, 1, "settings", "ROOMLINK_AUVIOUS_CLIENT_SECRET"},
		"credentials of Talkdesk": {map[string]string{"ROOMLINK_TALKDESK_BASIC_PASSWORD": ""}, nil, 1, "settings", "belong together"},
		"short link key":          {map[string]string{"ROOMLINK_LINK_KEY": "short"}, nil, 1, "settings", "ROOMLINK_LINK_KEY"},
		"public URL off loopback": {map[string]string{"ROOMLINK_LISTEN": ":0"}, nil, 1, "settings", "ROOMLINK_PUBLIC_URL"},
		"secret that others read": {
			map[string]string{"ROOMLINK_TALKDESK_API_KEY": "", "ROOMLINK_TALKDESK_API_KEY_FILE": filepath.Join(dir, "open-key")},
			nil, 0, "file", "chmod o=",
		},
		"file that is missing":   {map[string]string{"ROOMLINK_OPS_TOKEN_FILE": filepath.Join(dir, "none")}, nil, 1, "file", "none"},
		"data directory":         {map[string]string{"ROOMLINK_DATA_DIR": filepath.Join(dir, "open-key", "data")}, nil, 1, "data", "a file has its name"},
		"free space":             {map[string]string{"ROOMLINK_MAX_BYTES": "1000000GiB"}, nil, 0, "data", "ROOMLINK_MAX_BYTES"},
		"address in use":         {map[string]string{"ROOMLINK_OPS_LISTEN": busy.Listener.Addr().String()}, nil, 1, "listen", "ROOMLINK_OPS_LISTEN"},
		"address of another":     {map[string]string{"ROOMLINK_BROKER_LISTEN": "203.0.113.1:1"}, nil, 1, "listen", "ROOMLINK_BROKER_LISTEN"},
		"auvious is unreachable": {map[string]string{"ROOMLINK_AUVIOUS_URL": "http://127.0.0.1:1"}, nil, 1, "auvious", "connection refused"},
		"wrong secret":           {map[string]string{"ROOMLINK_AUVIOUS_CLIENT_SECRET": "wrong"}, nil, 1, "auvious", "check the client id and the client secret"},
		"not auvious":            {map[string]string{"ROOMLINK_AUVIOUS_URL": busy.URL}, nil, 1, "auvious", "check the URL of auvious"},
		"clock":                  {map[string]string{"ROOMLINK_AUVIOUS_URL": slowClock.URL}, nil, 0, "clock", "set the clock of this machine"},
		"public URL of another":  {map[string]string{"ROOMLINK_PUBLIC_URL": busy.URL}, nil, 0, "public", "status 404"},
		"certificate has ended": {
			map[string]string{"ROOMLINK_TLS_CERT": filepath.Join(ended, "cert.pem"), "ROOMLINK_TLS_KEY": filepath.Join(ended, "key.pem")},
			nil, 1, "certificate", "renew it",
		},
		"key of another certificate": {
			map[string]string{"ROOMLINK_TLS_CERT": filepath.Join(ended, "cert.pem"), "ROOMLINK_TLS_KEY": filepath.Join(valid, "key.pem")},
			nil, 1, "certificate", "its own key",
		},
		"certificate of another name": {
			map[string]string{
				"ROOMLINK_TLS_CERT": filepath.Join(valid, "cert.pem"), "ROOMLINK_TLS_KEY": filepath.Join(valid, "key.pem"),
				"ROOMLINK_PUBLIC_URL": "https://127.0.0.2:1",
			},
			nil, 0, "certificate", `not for "127.0.0.2"`,
		},
		"broker that is away": {
			map[string]string{"ROOMLINK_NATS_URL": "nats://user:broker-password@127.0.0.1:1"}, nil, 1, "broker", "check ROOMLINK_NATS_URL",
		},
		"part without a broker": {nil, []string{"viewer"}, 1, "broker", "ROOMLINK_NATS_URL is missing"},
		"not ready": {
			map[string]string{"ROOMLINK_OPS_LISTEN": unready.Listener.Addr().String()}, []string{"--ready"}, 1, "ready", "broker: not connected",
		},
		"port that nobody knows": {map[string]string{"ROOMLINK_OPS_LISTEN": "127.0.0.1:0"}, []string{"--ready"}, 1, "ready", "names no port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := checkEnv(t, a.URL)
			maps.Copy(env, test.env)
			state := app.CheckWarning
			if test.code == 1 {
				state = app.CheckFailed
			}
			wants(t, check(t, env, test.code, test.args...), test.check, state, test.text)
		})
	}
}

// TestCheckExternalBroker checks the parts against a NATS server with users.
func TestCheckExternalBroker(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	srv := startNATSWith(t, func(options *server.Options) {
		options.Users = []*server.User{
			{Username: "all", Password: "all-password"},
			{Username: "reader", Password: "reader-password", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: []string{"$JS.API.>"}},
			}},
			{Username: "deaf", Password: "deaf-password", Permissions: &server.Permissions{
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		}
	})
	env := checkEnv(t, a.URL)
	env["ROOMLINK_NATS_URL"] = srv.ClientURL()
	env["ROOMLINK_REPLICAS"] = "1"
	login := func(user string) map[string]string {
		env := maps.Clone(env)
		env["ROOMLINK_NATS_USER"], env["ROOMLINK_NATS_PASSWORD"] = user, user+"-password"
		return env
	}
	for _, part := range []string{"serve", "webhook", "worker", "viewer"} {
		found := check(t, login("all"), 0, part)
		wants(t, found, "broker", app.CheckOK, "connected")
		wants(t, found, "permissions", app.CheckOK, "may publish")
		wants(t, found, "streams", app.CheckWarning, "ROOMLINK_LINKS is missing")
	}
	wants(t, check(t, login("stranger"), 1, "worker"), "broker", app.CheckFailed, "check ROOMLINK_NATS_USER")
	wants(t, check(t, login("deaf"), 1, "worker"), "broker", app.CheckFailed, "roomlink nats config")
	if code, _, text := command(t, login("all"), "streams", "apply"); code != 0 {
		t.Fatalf("streams apply: got exit code %d and %q, want 0", code, text)
	}
	wants(t, check(t, login("all"), 0, "worker"), "streams", app.CheckOK, "3 of 3")
	wants(t, check(t, login("reader"), 1, "webhook"), "permissions", app.CheckFailed, "roomlink nats config")
	code, out, _ := command(t, login("all"), "deadletters", "list", "--json")
	if code != 0 || out != "" {
		t.Errorf("dead letters after the checks: got exit code %d and %q, want none", code, out)
	}

	srv = startNATSWith(t, func(options *server.Options) { options.MaxPayload = 1 << 10 })
	env["ROOMLINK_NATS_URL"] = srv.ClientURL()
	wants(t, check(t, env, 1, "worker"), "broker", app.CheckFailed, "max_payload")
}

// startNATSWith runs a NATS server with changed options.
func startNATSWith(t *testing.T, change func(*server.Options)) *server.Server {
	t.Helper()
	options := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	}
	change(options)
	srv, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(roomlinktest.Timeout) {
		t.Fatal("the NATS server is not ready")
	}
	return srv
}
