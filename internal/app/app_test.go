package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"roomlink/internal/app"
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
