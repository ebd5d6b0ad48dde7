package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
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

func TestLinks(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s, client := serve(t, simulator.Config{ApplicationID: "app-1"})
	acks := h.acks()
	r := h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}})
	event := roomlinktest.Started("call-1")
	event.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	h.publish(event)

	msg := h.next(messages.LinksStream, "roomlink.links.acme.call-1")
	if got := msg.Headers().Get("traceparent"); got != event.TraceParent {
		t.Errorf("traceparent: got %q, want the event's %q", got, event.TraceParent)
	}
	links := decode[messages.Links](t, msg)
	if links.AgentURL == "" || links.TicketURL == "" || links.RecordingURL != "" {
		t.Errorf("links: got %+v, want those of the simulator, without a recording", links)
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

// TestCallersFields: the fields of the event replace those of the account in the call. The links contain them, so that a
// renewal can use them.
func TestCallersFields(t *testing.T) {
	t.Parallel()
	hour, zero := int64(3600), int64(0)
	for _, test := range []struct {
		name     string
		options  messages.RoomOptions
		request  string
		lifetime time.Duration // 0 for unknown
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
			"an explicit 0",
			messages.RoomOptions{TicketExpirationSeconds: &zero},
			`{"applicationId":"app-1","cdestination":"standalone","customerId":"contact-42","interactionId":"call-1",` +
				`"organizationId":"org-1","ticketExpirationSeconds":0,"urlBase":"https://auvious.video"}`,
			0,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			s, client := serve(t, simulator.Config{})
			h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}})
			event := roomlinktest.Started("call-1")
			event.Data.RoomOptions = test.options
			h.publish(event)
			links := h.links("call-1")
			wantRequest(t, s, "call-1", test.request)
			if got, want := encode(t, links.RoomOptions), encode(t, test.options); got != want {
				t.Errorf("the caller's fields: got %s, want %s", got, want)
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

// TestWholeRequest: the links of an event, and the event in its dead letter, contain every field of its request.
func TestWholeRequest(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	rejects := fails(auvious.ErrRejected)
	h.startWith(facade(func(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		if request.InteractionID == "dead" {
			return rejects(ctx, request)
		}
		return roomOf(request), nil
	}))
	for _, id := range []string{"linked", "dead"} {
		event := roomlinktest.Started(id)
		event.Data.Request = roomlinktest.FullRequest(t, id)
		h.publish(event)
	}
	original, err := h.deadLetter("dead").Started()
	if err != nil {
		t.Fatalf("decoding the event of the dead letter: %v", err)
	}
	for id, got := range map[string]messages.Request{"linked": h.links("linked").Request, "dead": original.Data.Request} {
		if want := roomlinktest.FullRequest(t, id); !reflect.DeepEqual(got, want) {
			t.Errorf("request of %q: got %s, want %s", id, encode(t, got), encode(t, want))
		}
	}
}

// TestInteractionIDs: links contain the interaction id unchanged, whatever its characters.
func TestInteractionIDs(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.startWith(makes())
	for _, id := range []string{"call-1", "a.b *>", "Ünïcödé ✓", strings.Repeat("x", 256), "~"} {
		h.publish(roomlinktest.Started(id))
		if got := h.links(id).InteractionID; got != id {
			t.Errorf("interaction id: got %q, want %q", got, id)
		}
	}
	h.wantSettled()
}

// TestStoredLinks: the worker makes no call for an event that has its links already.
func TestStoredLinks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		id     string
		links  func(id string, generation int) messages.Event[messages.Links]
		stored int // the generation of the stored links
		renews int // the generation that the event replaces
	}{
		{"a redelivery", roomlinktest.Links, 1, 0},
		{"a redelivered renewal", roomlinktest.Links, 2, 1},
		{"a late duplicate of the first after a renewal", roomlinktest.Links, 2, 0},
		{"a late duplicate of a renewal after another", roomlinktest.Links, 3, 1},
		{"a duplicate after a revocation", roomlinktest.RevokedLinks, 1, 0},
		{"a duplicate of a renewal after its revocation", roomlinktest.RevokedLinks, 2, 1},
	}
	h := newHarness(t)
	for _, test := range tests {
		h.publishLinks(test.links(test.id, test.stored), 0)
		h.publish(roomlinktest.Renewal(test.id, test.renews))
	}
	acks := h.acks()
	f, calls := recorded(makes())
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
			t.Errorf("links of %q: got those at sequence %d, want the stored ones at %d", test.id, got, i+1)
		}
	}
	r.wantMetric(float64(len(tests)), "roomlink_events_settled_total", "outcome", "already_linked")
	r.wantMetric(float64(len(tests)), "roomlink_events_settled_total")
	r.wantMetric(0, "roomlink_orphans_possible_total")
}

// TestRenewalAfterARevocation: a renewal replaces revoked links by the next generation.
func TestRenewalAfterARevocation(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.publishLinks(roomlinktest.RevokedLinks("call-1", 1), 0)
	r := h.startWith(makes())
	h.publish(roomlinktest.Renewal("call-1", 1))
	h.wantSettled()
	r.mustStop()
	if got := h.storedLinks("call-1").Data; got.Generation != 2 || got.Revoked() || got.AgentURL == "" {
		t.Errorf("links: got generation %d, revoked: %t, want 2 with links", got.Generation, got.Revoked())
	}
}

// TestRenewal: a renewal makes the next generation once.
func TestRenewal(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s, client := serve(t, simulator.Config{})
	h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}})
	acks := h.acks()
	for generation := 1; generation <= 3; generation++ {
		h.publish(roomlinktest.Renewal("call-1", generation-1))
		wantAck(t, acks, ack{"+ACK", 1, uint64(generation)})
		h.wantSettled()
		if got := h.storedLinks("call-1").Data.Generation; got != generation {
			t.Errorf("generation: got %d, want %d", got, generation)
		}
	}
	// A second renewal of a generation, published with a new message id.
	h.publishRaw("call-1", roomlinktest.Encode(t, roomlinktest.Renewal("call-1", 2)))
	wantAck(t, acks, ack{"+ACK", 1, 4})
	if got := h.storedLinks("call-1"); got.Data.Generation != 3 || got.Sequence != 3 {
		t.Errorf("links: got generation %d at %d, want 3 at 3", got.Data.Generation, got.Sequence)
	}
	if got := s.Rooms("call-1"); got != 3 {
		t.Errorf("rooms: got %d, want one a generation: 3", got)
	}
}

// TestTwoWorkers: two workers share the events of an account, and make one room for each.
func TestTwoWorkers(t *testing.T) {
	t.Parallel()
	const events = 200
	h := newHarness(t)
	s, client := serve(t, simulator.Config{})
	acks := h.acks()
	workers := []*running{
		h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}}),
		h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}}),
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

// TestAccountsAreIndependent: an account with a blocked facade does not delay another one. The worker leaves the events
// of other accounts in the queue.
func TestAccountsAreIndependent(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	release := make(chan struct{})
	blocked, calls := recorded(func(_ context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		<-release
		return roomOf(request), nil
	})
	h.start(worker.Config{Accounts: []worker.Account{
		configured("blocked", blocked, concurrency(1)),
		configured(account, makes()),
	}})
	for _, name := range []string{"blocked", "unknown"} {
		event := roomlinktest.Started("call-1")
		event.Data.Account = name
		h.publish(event)
	}
	roomlinktest.Receive(t, calls, "the blocked call")
	for i := range 20 {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	for i := range 20 {
		h.links(fmt.Sprintf("call-%d", i))
	}
	if got := len(calls); got != 0 {
		t.Errorf("more calls of the blocked account: got %d, want none", got)
	}
	close(release)
	h.next(messages.LinksStream, "roomlink.links.blocked.call-1")
	roomlinktest.Await(h.tb, "a queue with only the event of the unknown account", func() bool {
		stream, err := h.store.JetStream().Stream(roomlinktest.Context(t), messages.ConversationsStream)
		return err == nil && stream.CachedInfo().State.Msgs == 1
	})
}

// TestConcurrency: the worker makes as many calls at once as allowed, and not more.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	const limit, events = 3, 12
	h := newHarness(t)
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
	r := h.start(worker.Config{Accounts: []worker.Account{configured(account, f, concurrency(limit))}})
	for range limit {
		roomlinktest.Receive(t, entered, "a call")
	}
	if got := h.consumer().NumAckPending; got != limit {
		t.Errorf("held events: got %d, want %d", got, limit)
	}
	r.wantMetric(limit, "roomlink_events_in_flight")
	close(release)
	h.wantSettled()
	r.mustStop()
	if highest != limit {
		t.Errorf("calls at once: got %d, want %d", highest, limit)
	}
	r.wantMetric(0, "roomlink_events_in_flight")
}

// wantRequest compares the body of the only room call of a conversation.
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
