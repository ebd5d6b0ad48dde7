package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/messages"
)

func TestEndToEnd(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{ApplicationID: "app-1"})
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_SUBSCRIBERS"] = "crm"
	env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	p := start(t, env, "serve")
	base := p.Address("public")

	t.Run("three shapes", func(t *testing.T) {
		for _, tc := range []struct {
			name, body, id string
			request        map[string]any
		}{
			{
				name: "automation", id: "voice-1",
				body: `{"event":"inbound_call_starts","interaction_id":"voice-1","contact_id":"contact-1","agent_id":"x"}`,
				request: map[string]any{
					"applicationId": "app-1", "cdestination": "standalone", "customerId": "contact-1",
					"interactionId": "voice-1", "organizationId": "org-1",
					"ticketExpirationSeconds": 14400.0, "urlBase": a.URL,
				},
			},
			{
				name: "digital connect", id: "digital-1",
				body: `{"event_type":"CONVERSATION_STARTED","conversation_id":"digital-1","timestamp":"2026-11-22T09:00:00Z","payload":{}}`,
				request: map[string]any{
					"applicationId": "app-1", "cdestination": "standalone", "customerId": "digital-1",
					"interactionId": "digital-1", "organizationId": "org-1",
					"ticketExpirationSeconds": 14400.0, "urlBase": a.URL,
				},
			},
			{
				name: "action", id: "action-1",
				body: `{"applicationId":"app-1","cdestination":"standalone","customerId":"c-1","interactionId":"action-1",` +
					`"ticketExpirationSeconds":0,"organizationId":"talkdesk","urlBase":"auvious.video"}`,
				request: map[string]any{
					"applicationId": "app-1", "cdestination": "standalone", "customerId": "c-1",
					"interactionId": "action-1", "organizationId": "talkdesk",
					"ticketExpirationSeconds": 0.0, "urlBase": "https://auvious.video",
				},
			},
		} {
			t.Run(tc.name, func(t *testing.T) {
				got := programtest.Ask(t, http.MethodPost, base+"/talkdesk/events", tc.body)
				if got.Status != http.StatusAccepted || got.Fields["status"] != "accepted" {
					t.Fatalf("posting: got %d %v; want 202 accepted", got.Status, got.Fields)
				}
				links := programtest.Ready(t, base, tc.id)
				if !strings.HasPrefix(links["agentUrl"], a.URL) || !strings.HasPrefix(links["ticketUrl"], a.URL) {
					t.Errorf("links: got %d of auvious' URLs; want agentUrl and ticketUrl", strings.Count(fmt.Sprint(links), a.URL))
				}
				requests := a.Requests(tc.id)
				if len(requests) != 1 {
					t.Fatalf("calls of the facade: got %d, want 1", len(requests))
				}
				var request map[string]any
				if err := json.Unmarshal(requests[0].Body, &request); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(request, tc.request) {
					t.Errorf("request of the facade:\ngot  %v\nwant %v", request, tc.request)
				}
			})
		}
	})

	t.Run("one room for a hundred deliveries", func(t *testing.T) {
		outcomes := deliver(t, base, 100, func(int) string { return programtest.StartEvent("crowd-1") })
		if outcomes["202 accepted"] != 1 || outcomes["200 duplicate"] != 99 {
			t.Errorf("answers: got %v; want 1 accepted and 99 duplicate", outcomes)
		}
		programtest.Ready(t, base, "crowd-1")
		if got := a.Rooms("crowd-1"); got != 1 {
			t.Errorf("rooms: got %d, want 1", got)
		}
	})

	t.Run("no room for an end", func(t *testing.T) {
		body := `{"event":"inbound_call_ends","interaction_id":"ended-1"}`
		if got := programtest.Ask(t, http.MethodPost, base+"/talkdesk/events", body); got.Fields["status"] != "ignored" {
			t.Errorf("posting: got %d %v; want ignored", got.Status, got.Fields)
		}
		if got := programtest.Ask(t, http.MethodGet, base+"/links/ended-1", ""); got.Fields["status"] != "unknown" {
			t.Errorf("state: got %q, want unknown", got.Fields["status"])
		}
	})

	t.Run("a subscriber sees the links", func(t *testing.T) { checkSubscriber(t, env, a) })

	if stats := a.Stats(); stats.TicketFetches != 0 {
		t.Errorf("fetches of a ticket: got %d, want 0", stats.TicketFetches)
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code after SIGTERM: got %d, want 0\n%s", code, p.Log())
	}
}

// checkSubscriber reads the message of a conversation as an outsider does, with
// the password that the first start wrote.
func checkSubscriber(t *testing.T, env map[string]string, a programtest.Auvious) {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(env["ROOMLINK_DATA_DIR"], "subscribers", "crm@default.password"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("nats://"+env["ROOMLINK_BROKER_LISTEN"],
		nats.UserInfo("crm@default", strings.TrimSpace(string(password))))
	if err != nil {
		t.Fatalf("connecting as a subscriber: %v", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	client := store.New(js)
	conversation := messages.Conversation{Account: "default", InteractionID: "voice-1"}
	stored, err := client.Links(t.Context(), conversation, store.Any)
	if err != nil {
		t.Fatalf("reading links: %v", err)
	}
	if got, want := stored.Subject, "roomlink.links.default.voice-1"; got != want {
		t.Errorf("subject: got %q, want %q", got, want)
	}
	links := stored.Data
	if links.Generation != 1 || links.CustomerID != "contact-1" || !strings.HasPrefix(links.AgentURL, a.URL) {
		t.Errorf("links: got generation %d, customer %q, agent %q", links.Generation, links.CustomerID, links.AgentURL)
	}
	if got, want := links.ExpiresAt.Sub(links.CreatedAt.Time), 4*time.Hour; got != want {
		t.Errorf("life of the ticket: got %v, want %v", got, want)
	}
	if _, err := js.Stream(t.Context(), messages.ConversationsStream); err == nil {
		t.Error("the subscriber may look at the queue")
	}
}

// deliver posts events at once and counts the answers.
func deliver(t *testing.T, base string, count int, body func(int) string) map[string]int {
	t.Helper()
	var mu sync.Mutex
	outcomes := map[string]int{}
	var group sync.WaitGroup
	for i := range count {
		group.Go(func() {
			got := programtest.Ask(t, http.MethodPost, base+"/talkdesk/events", body(i))
			mu.Lock()
			defer mu.Unlock()
			outcomes[fmt.Sprintf("%d %s", got.Status, got.Fields["status"])]++
		})
	}
	group.Wait()
	return outcomes
}

// TestKilled kills the program with events in flight, twice, and looks for the
// links of every event that was answered 2xx.
func TestKilled(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it kills the program")
	a := programtest.StartAuvious(t, simulator.Config{Latency: simulator.Constant(20 * time.Millisecond)})
	env := programtest.ServeEnv(t, a.URL)
	var mu sync.Mutex
	var taken []string
	for round := range 2 {
		p := start(t, env, "serve")
		base := p.Address("public")
		var group sync.WaitGroup
		killed := make(chan struct{})
		for sender := range 8 {
			group.Go(func() {
				for n := 0; ; n++ {
					id := fmt.Sprintf("crash-%d-%d-%d", round, sender, n)
					if got := programtest.Post(t, base, id); got.Status/100 != 2 {
						return // it is dead
					}
					mu.Lock()
					taken = append(taken, id)
					if len(taken) == 100*(round+1) {
						close(killed)
					}
					mu.Unlock()
				}
			})
		}
		<-killed
		p.Kill()
		group.Wait()
	}
	p := start(t, env, "serve")
	base := p.Address("public")
	for _, id := range taken {
		programtest.Ready(t, base, id)
	}
	doubles := 0
	for _, rooms := range a.RoomsByInteraction() {
		doubles += rooms - 1
	}
	if most := 2 * 64; doubles > most {
		t.Errorf("orphan rooms: got %d, want at most %d (kills × concurrency)", doubles, most)
	}
	t.Logf("%d events answered 2xx, all with links; %d orphan rooms", len(taken), doubles)
}

// TestQueueFull fills a small queue while auvious does not answer.
func TestQueueFull(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	answer := make(chan struct{})
	a.Script(func(simulator.Call) *simulator.Answer { return &simulator.Answer{Wait: answer} })
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_MAX_BYTES"] = "16KiB"
	env["ROOMLINK_FACADE_TIMEOUT"] = "30s"
	p := start(t, env, "serve")
	base := p.Address("public")
	var taken []string
	full := 0
	for i := 0; full < 5; i++ {
		id := fmt.Sprintf("full-%d", i)
		got := programtest.Post(t, base, id)
		switch {
		case got.Status == http.StatusAccepted && full == 0:
			taken = append(taken, id)
		case got.Status == http.StatusServiceUnavailable && got.Fields["error"] == "queue_full":
			full++
		default:
			t.Fatalf("event %d: got %d %v; want 202 accepted, then 503 queue_full", i, got.Status, got.Fields)
		}
		if i > 1000 {
			t.Fatal("the queue takes more than its size")
		}
	}
	if got := programtest.Post(t, base, taken[0]); got.Fields["status"] != "duplicate" {
		t.Errorf("an event that waits: got %d %v; want duplicate", got.Status, got.Fields)
	}
	close(answer)
	for _, id := range taken {
		programtest.Ready(t, base, id)
	}
	if got := programtest.Post(t, base, "after"); got.Status != http.StatusAccepted {
		t.Errorf("once there is space: got %d %v; want 202", got.Status, got.Fields)
	}
}

// TestSplit runs each part as a process of its own on a broker of another one,
// and ends a worker in between.
func TestSplit(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_NATS_URL"] = startNATS(t)
	env["ROOMLINK_REPLICAS"] = "1"
	hook := start(t, env, "webhook")
	workers := []*programtest.Program{start(t, env, "worker"), start(t, env, "worker")}
	view := start(t, env, "viewer")
	base := hook.Address("public")
	for i := range 50 {
		id := fmt.Sprintf("split-%d", i)
		if got := programtest.Post(t, base, id); got.Status != http.StatusAccepted {
			t.Fatalf("posting: got %d %v; want 202\n%s", got.Status, got.Fields, hook.Log())
		}
		if i == 25 {
			workers[0].Line(map[string]string{"message": "started"})
			if code := workers[0].Stop(); code != 0 {
				t.Errorf("exit code of a worker: got %d, want 0", code)
			}
		}
	}
	for i := range 50 {
		id := fmt.Sprintf("split-%d", i)
		programtest.Ready(t, view.Address("public"), id)
		if got := a.Rooms(id); got != 1 {
			t.Errorf("rooms of %q: got %d, want 1", id, got)
		}
	}
}
