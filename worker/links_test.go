package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

func TestLinksOfAConversation(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, client := serve(t, simulator.Config{ApplicationID: "app-1"})
	acks := h.acks()
	r := h.start(worker.Config{Accounts: []worker.Account{simulated(client)}})
	event := roomlinktest.Started("call-1")
	event.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	h.publish(event)

	msg := h.next(messages.LinksStream, "roomlink.links.acme.call-1")
	if got := msg.Headers().Get("traceparent"); got != event.TraceParent {
		t.Errorf("traceparent: got %q, want the event's %q", got, event.TraceParent)
	}
	links := decode[messages.Links](t, msg)
	if links.AgentURL == "" || links.TicketURL == "" || links.RecordingURL != "" {
		t.Errorf("links: got %+v, want the simulator's, which has no recording", links)
	}
	if got := links.ExpiresAt.Sub(links.CreatedAt.Time); got != 4*time.Hour {
		t.Errorf("lifetime of the ticket: got %v, want 4h", got)
	}
	if got := time.Since(links.CreatedAt.Time); got < 0 || got > 45*time.Second {
		t.Errorf("created: got %v ago, want just now", got)
	}
	want := messages.Links{
		Request: messages.Request{Conversation: roomlinktest.Conversation("call-1"), CustomerID: "contact-42"}, Generation: 1,
		AgentURL: links.AgentURL, TicketURL: links.TicketURL, CreatedAt: links.CreatedAt, ExpiresAt: links.ExpiresAt,
	}
	if links != want {
		t.Errorf("links: got %+v, want %+v", links, want)
	}

	wantAck(t, acks, ack{"+ACK", 1, 1})
	h.wantSettled()
	if floor := h.consumer().AckFloor.Stream; floor != 1 {
		t.Errorf("acknowledged up to: got %d, want 1", floor)
	}
	h.wantMessages(messages.DeadLettersStream, 0)
	wantRequest(t, s, "call-1", `{"applicationId":"app-1","cdestination":"standalone","customerId":"contact-42",`+
		`"interactionId":"call-1","organizationId":"org-1","ticketExpirationSeconds":14400,"urlBase":"https://auvious.video"}`)
	r.mustStop()
	r.wantMetric(1, "roomlink_events_settled_total", "outcome", "linked")
	r.wantMetric(1, "roomlink_facade_calls_total", "outcome", "created")
	r.wantMetric(1, "roomlink_links_latency_seconds")
	r.wantMetric(0, "roomlink_orphans_possible_total")
	if stats := s.Stats(); stats.TicketFetches != 0 {
		t.Errorf("ticket fetches: got %d, want none", stats.TicketFetches)
	}
}

// TestCallersOwnFields go to auvious in place of the account's, and travel with
// the links, so that a renewal can use them.
func TestCallersOwnFields(t *testing.T) {
	t.Parallel()
	hour, zero := int64(3600), int64(0)
	for _, test := range []struct {
		name     string
		options  messages.RoomOptions
		request  string
		lifetime time.Duration // 0: unknown
	}{
		{
			"all",
			messages.RoomOptions{
				ApplicationID: "app-2", Destination: "standalone", OrganizationID: "org-2",
				TicketExpirationSeconds: &hour, URLBase: "https://eu.auvious.video",
			},
			`{"applicationId":"app-2","cdestination":"standalone","customerId":"contact-42","interactionId":"call-1",` +
				`"organizationId":"org-2","ticketExpirationSeconds":3600,"urlBase":"https://eu.auvious.video"}`,
			time.Hour,
		},
		{
			"one",
			messages.RoomOptions{OrganizationID: "org-2"},
			`{"applicationId":"app-1","cdestination":"standalone","customerId":"contact-42","interactionId":"call-1",` +
				`"organizationId":"org-2","ticketExpirationSeconds":14400,"urlBase":"https://auvious.video"}`,
			4 * time.Hour,
		},
		{
			"an explicit 0, which only auvious understands",
			messages.RoomOptions{TicketExpirationSeconds: &zero},
			`{"applicationId":"app-1","cdestination":"standalone","customerId":"contact-42","interactionId":"call-1",` +
				`"organizationId":"org-1","ticketExpirationSeconds":0,"urlBase":"https://auvious.video"}`,
			0,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			s, client := serve(t, simulator.Config{})
			h.start(worker.Config{Accounts: []worker.Account{simulated(client)}})
			event := roomlinktest.Started("call-1")
			event.Data.RoomOptions = test.options
			h.publish(event)
			links := h.links("call-1")
			wantRequest(t, s, "call-1", test.request)
			if got, want := encode(t, links.RoomOptions), encode(t, test.options); got != want {
				t.Errorf("the caller's own fields: got %s, want %s", got, want)
			}
			switch {
			case test.lifetime == 0 && !links.ExpiresAt.IsZero():
				t.Errorf("expires: got %v, want empty", links.ExpiresAt)
			case test.lifetime != 0 && links.ExpiresAt.Sub(links.CreatedAt.Time) != test.lifetime:
				t.Errorf("expires: got %v after %v, want %v", links.ExpiresAt, links.CreatedAt, test.lifetime)
			}
		})
	}
}

// TestInteractionIDs of every shape arrive whole in the body, and as a token in
// the subject.
func TestInteractionIDs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.startWith(makes())
	for _, id := range []string{"call-1", "a.b *>", "Ünïcödé ✓", strings.Repeat("x", 256), "~"} {
		h.publish(roomlinktest.Started(id))
		if got := h.links(id).InteractionID; got != id {
			t.Errorf("interaction id: got %q, want %q", got, id)
		}
	}
	h.wantSettled()
}

// TestWorkThatIsDone is found done: no call is made for it.
func TestWorkThatIsDone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		id     string
		stored int // the generation of the links that are there
		renews int // what the event replaces
	}{
		{"a redelivery", 1, 0},
		{"a redelivered renewal", 2, 1},
		{"a late duplicate of the first after a renewal", 2, 0},
		{"a late duplicate of a renewal after another", 3, 1},
	}
	h := newHouse(t)
	for _, test := range tests {
		h.publishLinks(roomlinktest.Links(test.id, test.stored), 0)
		h.publish(roomlinktest.Renewal(test.id, test.renews))
	}
	acks := h.acks()
	f, calls := signalled(makes())
	r := h.startWith(f)
	for range tests {
		if got := roomlinktest.Receive(t, acks, "an acknowledgement"); got.kind != "+ACK" || got.delivery != 1 {
			t.Errorf("acknowledgement: got %v, want the +ACK of a first delivery", got)
		}
	}
	h.wantSettled()
	r.mustStop()
	if len(calls) != 0 {
		t.Errorf("calls: got %d, want none", len(calls))
	}
	for i, test := range tests {
		if got := h.storedLinks(test.id).Sequence; got != uint64(i+1) {
			t.Errorf("links of %q: got those at sequence %d, want those that were there at %d", test.id, got, i+1)
		}
	}
	r.wantMetric(float64(len(tests)), "roomlink_events_settled_total", "outcome", "already_linked")
	r.wantMetric(float64(len(tests)), "roomlink_events_settled_total")
	r.wantMetric(0, "roomlink_orphans_possible_total")
}

// TestRenewal makes the next generation, once.
func TestRenewal(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, client := serve(t, simulator.Config{})
	h.start(worker.Config{Accounts: []worker.Account{simulated(client)}})
	acks := h.acks()
	for generation := 1; generation <= 3; generation++ {
		h.publish(roomlinktest.Renewal("call-1", generation-1))
		wantAck(t, acks, ack{"+ACK", 1, uint64(generation)})
		h.wantSettled()
		if got := h.storedLinks("call-1").Data.Generation; got != generation {
			t.Errorf("generation: got %d, want %d", got, generation)
		}
	}
	// A second renewal of a generation, with an id that the broker does not know.
	again := roomlinktest.Renewal("call-1", 2)
	data, err := again.Encode()
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	h.publishRaw("call-1", data)
	wantAck(t, acks, ack{"+ACK", 1, 4})
	if got := h.storedLinks("call-1"); got.Data.Generation != 3 || got.Sequence != 3 {
		t.Errorf("links: got generation %d at %d, want 3 at 3", got.Data.Generation, got.Sequence)
	}
	if got := s.Rooms("call-1"); got != 3 {
		t.Errorf("rooms: got %d, want one a generation: 3", got)
	}
}

// TestTwoWorkers share an account's events, and make one room for each.
func TestTwoWorkers(t *testing.T) {
	t.Parallel()
	const events = 200
	h := newHouse(t)
	s, client := serve(t, simulator.Config{})
	acks := h.acks()
	workers := []*running{
		h.start(worker.Config{Accounts: []worker.Account{simulated(client)}}),
		h.start(worker.Config{Accounts: []worker.Account{simulated(client)}}),
	}
	var publishing sync.WaitGroup
	for i := range events {
		publishing.Go(func() {
			if _, err := h.store.Publish(t.Context(), roomlinktest.Started(fmt.Sprintf("call-%d", i))); err != nil {
				t.Errorf("publishing: %v", err)
			}
		})
	}
	publishing.Wait()
	for range events {
		if got := roomlinktest.Receive(t, acks, "an acknowledgement"); got.kind != "+ACK" || got.delivery != 1 {
			t.Errorf("acknowledgement: got %v, want the +ACK of a first delivery", got)
		}
	}
	h.wantSettled()
	h.wantMessages(messages.LinksStream, events)
	h.wantMessages(messages.DeadLettersStream, 0)
	if stats := s.Stats(); stats.RoomsMade != events || stats.Interactions != events || stats.Doubles != 0 {
		t.Errorf("got %d rooms for %d conversations, want %d for as many", stats.RoomsMade, stats.Interactions, events)
	}
	sum := 0.0
	for _, w := range workers {
		w.mustStop()
		sum += w.metric("roomlink_events_settled_total", "outcome", "linked")
	}
	if sum != events {
		t.Errorf("events settled by both: got %v, want %d", sum, events)
	}
}

// TestAccountsAreApart: one whose facade stands still does not hold up another,
// and a worker takes no events but its accounts'.
func TestAccountsAreApart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	release := make(chan struct{})
	stuck, calls := signalled(func(_ context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		<-release
		return roomOf(request), nil
	})
	h.start(worker.Config{Accounts: []worker.Account{
		configured("stuck", stuck, concurrency(1)),
		configured(account, makes()),
	}})
	for _, name := range []string{"stuck", "nobodys"} {
		event := roomlinktest.Started("call-1")
		event.Data.Account = name
		h.publish(event)
	}
	roomlinktest.Receive(t, calls, "the call that stands still")
	for i := range 20 {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	for i := range 20 {
		h.links(fmt.Sprintf("call-%d", i))
	}
	if got := len(calls); got != 0 {
		t.Errorf("more calls of the other account: got %d, want none", got)
	}
	close(release)
	h.next(messages.LinksStream, "roomlink.links.stuck.call-1")
	h.await("the one event that is nobody's", func() bool {
		stream, err := h.store.JetStream().Stream(roomlinktest.Context(t), messages.ConversationsStream)
		return err == nil && stream.CachedInfo().State.Msgs == 1
	})
}

// TestConcurrency: never more calls at once than allowed, and as many as that.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	const most, events = 3, 12
	h := newHouse(t)
	release := make(chan struct{})
	entered := make(chan struct{}, events)
	var mu sync.Mutex
	running, highest := 0, 0
	f := facade(func(_ context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		mu.Lock()
		running++
		highest = max(highest, running)
		mu.Unlock()
		entered <- struct{}{}
		<-release
		mu.Lock()
		running--
		mu.Unlock()
		return roomOf(request), nil
	})
	for i := range events {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	r := h.start(worker.Config{Accounts: []worker.Account{configured(account, f, concurrency(most))}})
	for range most {
		roomlinktest.Receive(t, entered, "a call")
	}
	if got := h.consumer().NumAckPending; got != most {
		t.Errorf("events held: got %d, want %d: one is pulled for a free slot alone", got, most)
	}
	r.wantMetric(most, "roomlink_events_in_flight")
	close(release)
	h.wantSettled()
	r.mustStop()
	if highest != most {
		t.Errorf("calls at once: got %d, want %d", highest, most)
	}
	r.wantMetric(0, "roomlink_events_in_flight")
}

// wantRequest compares the body of the only room call for a conversation.
func wantRequest(tb testing.TB, s *simulator.Simulator, id, want string) {
	tb.Helper()
	requests := s.Requests(id)
	if len(requests) != 1 {
		tb.Fatalf("room calls for %q: got %d, want 1", id, len(requests))
	}
	if got := string(requests[0].Body); got != want {
		tb.Errorf("request for %q: got %s, want %s", id, got, want)
	}
}

func encode(tb testing.TB, v any) string {
	tb.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		tb.Fatalf("encoding: %v", err)
	}
	return string(data)
}
