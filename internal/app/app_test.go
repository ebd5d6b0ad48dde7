package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"roomlink/internal/app"
	"roomlink/internal/broker"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/internal/talkdesk"
)

// environment returns an environment with secrets and no other variables.
func environment(log *roomlinktest.Logbook) app.Environment {
	secrets := map[string]string{
		app.AuviousSecret: programtest.AuviousSecret, app.TalkdeskKey: programtest.APIKey, app.LinkKey: programtest.LinkKey,
	}
	return app.Environment{Stderr: log, Stdout: log, Lookup: func(name string) (string, bool) {
		value, ok := secrets[name]
		return value, ok
	}}
}

// serve starts the whole program in this process, on free ports.
func serve(ctx context.Context, t *testing.T, auviousURL string, arguments ...string) (*app.App, error) {
	t.Helper()
	var settings app.ServeSettings
	err := app.ParseSettings(&settings, append([]string{
		"--auvious-url=" + auviousURL, "--auvious-client-id=" + programtest.AuviousClient,
		"--auvious-application-id=app-1", "--data-dir=" + t.TempDir(), "--sync=1m",
		"--listen=127.0.0.1:0", "--broker-listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
	}, arguments...)...)
	if err != nil {
		t.Fatalf("parsing settings: %v", err)
	}
	return app.Serve(ctx, environment(&roomlinktest.Logbook{}), settings)
}

// The program runs as a value: it accepts every shape, makes a room for each, and stops
// with its context.
func TestServe(t *testing.T) {
	auvious := programtest.StartAuvious(t, simulator.Config{})
	ctx, stop := context.WithCancel(roomlinktest.Context(t))
	program, err := serve(ctx, t, auvious.URL)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	client := talkdesk.Client{URL: program.URL(), Key: programtest.APIKey}
	for _, shape := range []talkdesk.Shape{talkdesk.Automation, talkdesk.Digital} {
		body, err := shape.Sample("call-" + string(shape))
		if err != nil {
			t.Fatal(err)
		}
		if status, answer, err := client.PostEvent(ctx, body); err != nil || status != http.StatusAccepted {
			t.Errorf("posting %s: got %d %s and error %v, want 202", shape, status, answer, err)
		}
		_, answer, err := client.Get(ctx, fmt.Sprintf("/links/call-%s?wait=10s", shape))
		var links map[string]string
		if err := errors.Join(err, json.Unmarshal(answer, &links)); err != nil || links["status"] != "ready" {
			t.Errorf("links of %s: got status %q and error %v, want ready", shape, links["status"], err)
		}
		if !strings.HasPrefix(links["cardUrl"], program.URL()) {
			t.Errorf("card of %s: got %q, want a page of %s", shape, links["cardUrl"], program.URL())
		}
	}
	operations := talkdesk.Client{URL: "http://" + program.OperationsAddress()}
	if status, answer, err := operations.Get(ctx, "/readyz"); err != nil || status != http.StatusOK {
		t.Errorf("readiness: got %d %s and error %v, want 200", status, answer, err)
	}

	stop()
	if err := program.Wait(); err != nil {
		t.Errorf("stopping: got error %v, want none", err)
	}
	if _, _, err := client.Get(t.Context(), "/"); err == nil {
		t.Error("calling a stopped program: got an answer, want none")
	}
}

// A start that fails leaves nothing running: the data directory is free again.
func TestServeRefuses(t *testing.T) {
	dir := t.TempDir()
	ctx := roomlinktest.Context(t)
	_, err := serve(ctx, t, "https://auvious.video", "--data-dir="+dir, "--ops-listen=no-address")
	if err == nil || !strings.Contains(err.Error(), "ROOMLINK_OPS_LISTEN") {
		t.Fatalf("starting with a wrong address: got error %v, want one that names ROOMLINK_OPS_LISTEN", err)
	}
	ctx, stop := context.WithCancel(ctx)
	program, err := serve(ctx, t, "https://auvious.video", "--data-dir="+dir)
	if err != nil {
		t.Fatalf("starting again: got error %v, want none", err)
	}
	stop()
	if err := program.Wait(); err != nil {
		t.Errorf("stopping: got error %v, want none", err)
	}

	_, err = serve(ctx, t, "https://auvious.video", "--tls-cert=only-one")
	if _, usage := errors.AsType[app.UsageError](err); !usage {
		t.Errorf("starting with half a certificate: got error %v, want a usage error", err)
	}
}

// A worker refuses accounts that an external broker has no room for, and says what to do. So
// does "serve" with more accounts than its own broker serves.
func TestTooManyAccounts(t *testing.T) {
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: 2},
	})
	if err != nil {
		t.Fatalf("preparing a server: %v", err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	for _, test := range []struct {
		broker string
		count  int
		want   string
	}{
		{srv.ClientURL(), 3, "default_max_consumers"},
		{"", broker.MaxAccounts + 1, "at most 5000"},
	} {
		var file strings.Builder
		file.WriteString("accounts:\n  - {name: first, talkdesk: {apiKeys: [{name: key, file: secret}]}, " +
			"auvious: {clientId: id, clientSecretFile: secret}}\n")
		for i := range test.count - 1 {
			fmt.Fprintf(&file, "  - {name: a%d, auvious: {clientId: id, clientSecretFile: secret}}\n", i)
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "accounts.yaml")
		err := errors.Join(os.WriteFile(path, []byte(file.String()), 0o600),
			os.WriteFile(filepath.Join(dir, "secret"), []byte(programtest.APIKey), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		var settings app.ServeSettings
		err = app.ParseSettings(&settings, "--accounts="+path, "--nats-url="+test.broker, "--replicas=1", "--data-dir="+dir,
			"--listen=127.0.0.1:0", "--broker-listen=off", "--ops-listen=127.0.0.1:0")
		if err != nil {
			t.Fatalf("parsing settings: %v", err)
		}
		env := environment(&roomlinktest.Logbook{})
		env.Lookup = func(name string) (string, bool) {
			if name == app.LinkKey {
				return programtest.LinkKey, true
			}
			return "", false
		}
		_, err = app.Serve(roomlinktest.Context(t), env, settings)
		if _, usage := errors.AsType[app.UsageError](err); !usage || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%d accounts on %q: got error %v, want a usage error with %q", test.count, test.broker, err, test.want)
		}
	}
}

// From the moment of the stop on, the program is not ready, but still says so while it finishes what it holds.
func TestNotReadyWhileStopping(t *testing.T) {
	auvious := programtest.StartAuvious(t, simulator.Config{})
	called, finish := make(chan struct{}), make(chan struct{})
	auvious.Script(func(simulator.Call) *simulator.Answer {
		close(called)
		return &simulator.Answer{Wait: finish}
	})
	ctx, stop := context.WithCancel(roomlinktest.Context(t))
	defer stop()
	program, err := serve(ctx, t, auvious.URL)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	body, err := talkdesk.Automation.Sample("held")
	if err != nil {
		t.Fatal(err)
	}
	client := talkdesk.Client{URL: program.URL(), Key: programtest.APIKey}
	if status, answer, err := client.PostEvent(ctx, body); err != nil || status != http.StatusAccepted {
		t.Fatalf("posting: got %d %s and error %v, want 202", status, answer, err)
	}
	roomlinktest.Receive(t, called, "a call")
	stop()
	operations := talkdesk.Client{URL: "http://" + program.OperationsAddress()}
	for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/livez": http.StatusOK, "/metrics": http.StatusOK} {
		if status, answer, err := operations.Get(t.Context(), path); err != nil || status != want {
			t.Errorf("%s while stopping: got %d %s and error %v, want %d", path, status, answer, err, want)
		}
	}
	close(finish)
	if err := program.Wait(); err != nil {
		t.Errorf("stopping: got error %v, want none", err)
	}
}
