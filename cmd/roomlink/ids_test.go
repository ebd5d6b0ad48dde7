package main

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/app"
	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
	"roomlink/messages"
)

// storedIDs are ids that the program accepted before, and that it refuses or changes now.
var storedIDs = []string{"null", "%{interaction_id}", "abc ", "\u2003abc"}

// storeEvents puts events with these ids into the queue of a running "serve", as an older
// program accepted them.
func storeEvents(t *testing.T, env map[string]string, ids []string) {
	t.Helper()
	settings := app.OperatorSettings{Account: "default", ConnectionSettings: app.ConnectionSettings{StoreSettings: app.StoreSettings{
		DataDir: env["ROOMLINK_DATA_DIR"], BrokerListen: env["ROOMLINK_BROKER_LISTEN"],
	}}}
	s, disconnect, err := settings.Connect(t.Context(), app.Environment{Lookup: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatalf("connecting as the operator: %v", err)
	}
	defer disconnect()
	for _, id := range ids {
		now := messages.At(time.Now())
		_, err := s.Publish(t.Context(), messages.NewEvent(now, messages.Started{
			Request: messages.Request{
				Conversation: messages.Conversation{Account: "default", InteractionID: id}, CustomerID: id,
			},
			Channel: messages.ChannelVoice, Source: messages.SourceAutomation, ReceivedAt: now,
		}))
		if err != nil {
			t.Fatalf("storing the event of %q: %v", id, err)
		}
	}
}

// TestStoredIDs keeps a data directory with ids of an older program through a restart. Its
// events, links, pages, renewals and dead letters work.
func TestStoredIDs(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	a.Script(func(call simulator.Call) *simulator.Answer {
		if strings.Contains(call.InteractionID, "undefined") && call.Number == 1 {
			return &simulator.Answer{Status: 422, Body: `{"error":"no such customer"}`}
		}
		return nil
	})
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	dead := []string{"undefined", " undefined ", "%{undefined}"}
	p := start(t, env, "serve")
	p.Address("public")
	p.Line(map[string]string{"message": "started"})
	storeEvents(t, env, append(dead, storedIDs...))
	for _, id := range storedIDs {
		p.Line(map[string]string{"message": "links stored", "interaction_id": id})
	}
	for _, id := range dead {
		p.Line(map[string]string{"message": "event became a dead letter", "interaction_id": id})
	}
	p.Stop()

	p = start(t, env, "serve")
	base := p.Address("public")
	keys, err := access.NewKeys(programtest.LinkKey)
	if err != nil {
		t.Fatal(err)
	}
	signed := access.Pages{Keys: keys, BaseURL: base, Lifetime: time.Hour}
	run := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := command(t, env, args...)
		if code != 0 {
			t.Errorf("roomlink %q: got exit code %d, want 0\n%s", args, code, stderr)
		}
		return stdout
	}
	for _, id := range storedIDs {
		pages := signed.For(messages.Conversation{Account: "default", InteractionID: id}, time.Now())
		if status, _ := programtest.Visit(t, pages.Context); status != http.StatusFound {
			t.Errorf("context link of %q: got %d, want 302", id, status)
		}
		if status, _ := programtest.Visit(t, pages.Card); status != http.StatusOK {
			t.Errorf("card of %q: got %d, want 200", id, status)
		}
		if got := programtest.Ask(t, http.MethodPost, pages.Card+"/renew", ""); got.Status != http.StatusAccepted || got.Fields["interactionId"] != id {
			t.Errorf("renewal of %q by its card: got %d %v, want 202", id, got.Status, got.Fields)
		}
		p.Line(map[string]string{"message": "links stored", "interaction_id": id})
		if out := run("links", "get", id); !strings.Contains(out, "generation  2") {
			t.Errorf("links get %q: got %s, want generation 2", id, out)
		}
		if out := run("links", "renew", id); !strings.Contains(out, "generation  3") {
			t.Errorf("links renew %q: got %s, want generation 3", id, out)
		}
		if got := a.Rooms(id); got != 3 {
			t.Errorf("rooms of %q: got %d, want 3", id, got)
		}
		if out := run("links", "revoke", id); !strings.Contains(out, "status      revoked") {
			t.Errorf("links revoke %q: got %s, want revoked", id, out)
		}
	}
	run("deadletters", "show", dead[0])
	for _, id := range dead[:2] { // each alone, though they differ in white space only
		if out := run("deadletters", "replay", id); !strings.Contains(out, "1 of 1 replayed") {
			t.Errorf("deadletters replay %q: got %s, want 1 replayed", id, out)
		}
		p.Line(map[string]string{"message": "links stored", "interaction_id": id})
		run("links", "get", id)
	}
	if out := run("deadletters", "discard", dead[2]+" "); !strings.Contains(out, "1 of 1 discarded") {
		t.Errorf("deadletters discard %q: got %s, want 1 discarded", dead[2], out)
	}
}

// TestNoIDs gives the commands what is no id.
func TestNoIDs(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	p := start(t, env, "serve")
	base := p.Address("public")
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"template.json": `{"event":"{{event}}","interaction_id":"{{interaction_id}}","contact_id":"{{contact_id}}"}`,
		"action.json":   strings.ReplaceAll(pageInput(t, "app-1"), "abc123", "undefined"),
		"good.json":     `{"event":"inbound_call_starts","interaction_id":" sent-1 ","contact_id":"null"}`,
	})
	for _, args := range [][]string{
		{"send", "--url", base, "--id", "null"},
		{"send", "--url", base, "--id", "%{interaction_id}", "--shape", "action"},
		{"send", "--url", base, filepath.Join(dir, "template.json")},
		{"send", "--url", base, filepath.Join(dir, "action.json")},
		{"links", "get", "undefined"},
		{"links", "get", "{{interaction_id}}"},
		{"links", "renew", "N/A"},
		{"links", "revoke", "null"},
		{"links", "get", "null", "--data-dir", "/nonexistent"},
	} {
		code, _, stderr := command(t, env, args...)
		if code != 2 || !strings.Contains(stderr, "replace it by the variable") {
			t.Errorf("roomlink %q: got exit code %d, %s\nwant 2, and what to do", args, code, stderr)
		}
	}
	if code, _, stderr := command(t, env, "links", "get", ""); code != 2 || !strings.Contains(stderr, "interaction") {
		t.Errorf("links of no id: got exit code %d, %s\nwant 2, and what is wrong", code, stderr)
	}
	if code, stdout, stderr := command(t, env, "send", "--url", base, filepath.Join(dir, "good.json")); code != 0 ||
		!strings.Contains(stdout, `"interactionId":"sent-1"`) {
		t.Errorf("sending a file: got exit code %d, %s%s\nwant 0 and sent-1", code, stdout, stderr)
	}
	programtest.Ready(t, base, "sent-1")
	if code, stdout, _ := command(t, env, "links", "get", "\u2003sent-1 "); code != 0 || !strings.Contains(stdout, "status      ready") {
		t.Errorf("links get with white space: got exit code %d, %s, want ready", code, stdout)
	}
	if code, stdout, _ := command(t, env, "links", "revoke", " sent-1"); code != 0 || !strings.Contains(stdout, "status      revoked") {
		t.Errorf("links revoke with white space: got exit code %d, %s, want revoked", code, stdout)
	}
	if rooms := a.Stats().RoomCalls; rooms != 1 {
		t.Errorf("calls of auvious: got %d, want 1", rooms)
	}
}

// TestDemoTakesThePagesExample posts the example of auvious' page to the demo, as it is.
func TestDemoTakesThePagesExample(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "demo")
	p.AwaitOutput("until Ctrl-C")
	base, key := demoAddress(t, p.Output())
	c := caller{base, http.Header{"X-Api-Key": {key}}}
	c.post(t, actionPath, "application/json", readFile(t, "testdata/room-request.json")).urls(t, outputSchema(t))
}

// demoAddress returns the address and the key that the demo prints.
func demoAddress(t *testing.T, out string) (base, key string) {
	t.Helper()
	_, rest, _ := strings.Cut(out, "curl -sS ")
	base, rest, _ = strings.Cut(rest, eventsPath)
	_, rest, _ = strings.Cut(rest, "X-API-Key: ")
	key, _, found := strings.Cut(rest, "'")
	if !found {
		t.Fatalf("the demo prints no address and key:\n%s", out)
	}
	return base, key
}

// TestLinkHosts serves an account with link hosts, and one without.
func TestLinkHosts(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{BaseURL: "https://rooms.example"})
	env := programtest.ServeEnv(t, a.URL)
	elsewhere := strings.ReplaceAll(pageInput(t, "app-1"), "auvious.video", "https://video.example")
	t.Run("none", func(t *testing.T) {
		p := start(t, env, "serve")
		c := caller{p.Address("public"), http.Header{"X-Api-Key": {programtest.APIKey}}}
		c.post(t, actionPath, "application/json", elsewhere).urls(t, outputSchema(t))
		p.Line(map[string]string{"level": "warn", "host": "video.example", "place": "url_base"})
		p.Line(map[string]string{"level": "warn", "host": "rooms.example", "place": "links"})
		_, metrics := programtest.Visit(t, p.Address("operations")+"/metrics")
		for _, place := range []string{"url_base", "links"} {
			if want := `roomlink_unexpected_link_hosts_total{account="default",place="` + place + `"} 1`; !strings.Contains(metrics, want) {
				t.Errorf("metrics lack %s", want)
			}
		}
		p.Stop()
	})
	t.Run("one", func(t *testing.T) {
		env["ROOMLINK_LINK_HOSTS"], env["ROOMLINK_DATA_DIR"] = "auvious.video", t.TempDir()
		p := start(t, env, "serve")
		c := caller{p.Address("public"), http.Header{"X-Api-Key": {programtest.APIKey}}}
		c.post(t, actionPath, "application/json", elsewhere).wantError(t, "urlBase elsewhere", 400, "bad_url_base")
		c.post(t, actionPath, "application/json", pageInput(t, "app-1")).wantError(t, "links elsewhere", 502, "bad_answer")
		p.Line(map[string]string{"message": "event became a dead letter", "reason": "bad_answer"})
		p.Stop()
	})
	t.Run("no host", func(t *testing.T) {
		env["ROOMLINK_LINK_HOSTS"] = "https://auvious.video"
		if code, _, stderr := command(t, env, "serve"); code != 2 || !strings.Contains(stderr, "ROOMLINK_LINK_HOSTS") {
			t.Errorf("got exit code %d, %s, want 2 and the setting", code, stderr)
		}
	})
}
