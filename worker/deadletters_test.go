package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// TestDeadLetters: auvious fails in every way that leads to a dead letter.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		answer  simulator.Answer
		account func(*worker.Account)
		// reason, detail and status are those of the dead letter. detail is part of the text.
		reason string
		detail string
		status int
		calls  int
	}{
		{
			name:   "rejected",
			answer: simulator.Answer{Status: 422, Body: `{"error":"no such customer, see https://auvious.test/t/hush"}`},
			reason: messages.ReasonRejected, status: 422, calls: 1,
			detail: "auvious refused the request: room endpoint: 422 application/json, error: no such customer, see [masked]",
		},
		{
			name:   "forbidden",
			answer: simulator.Answer{Status: 403, Body: `{"error":"not this application"}`},
			reason: messages.ReasonRejected, status: 403, calls: 1,
			detail: "not this application",
		},
		{
			name:   "bad answer",
			answer: simulator.Answer{Room: true, Status: 200, Body: `{"agentUrl":"javascript:alert('hush')"}`},
			reason: messages.ReasonBadAnswer, status: 200, calls: 1,
			detail: "auvious answered without usable links: room endpoint: 200 application/json, agentUrl is not an absolute URL",
		},
		{
			name:   "unknown outcome without retries",
			answer: simulator.Answer{Room: true, Close: simulator.CloseAfterReading},
			reason: messages.ReasonUnknownOutcome, calls: 1,
			detail: "the call was sent but not answered",
		},
		{
			name:    "unknown outcome with two retries",
			answer:  simulator.Answer{Room: true, Close: simulator.CloseAfterReading},
			account: func(a *worker.Account) { a.Auvious.UnknownRetries = 2 },
			reason:  messages.ReasonUnknownOutcome, calls: 3,
			detail: "the call was sent but not answered",
		},
		{
			name:    "expired after the first attempt",
			answer:  simulator.Answer{Status: 503},
			account: func(a *worker.Account) { a.Auvious.GiveUpAfter = time.Nanosecond },
			reason:  messages.ReasonExpired, status: 503, calls: 1,
			detail: "auvious did not carry out the call: room endpoint: 503 application/json, empty",
		},
		{
			name:    "expired while auvious refuses the account",
			answer:  simulator.Answer{Status: 401},
			account: func(a *worker.Account) { a.Auvious.GiveUpAfter = time.Nanosecond },
			reason:  messages.ReasonExpired, status: 401, calls: 2,
			detail: "auvious gave the account no access",
		},
		{
			name:    "expired with an unknown outcome",
			answer:  simulator.Answer{Close: simulator.CloseAfterReading},
			account: func(a *worker.Account) { a.Auvious.GiveUpAfter, a.Auvious.UnknownRetries = time.Nanosecond, 9 },
			reason:  messages.ReasonExpired, calls: 1,
			detail: "the outcome of the call is unknown",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			s, client := serve(t, simulator.Config{})
			s.Script(func(simulator.Call) *simulator.Answer { return &test.answer })
			config := simulatedAccount(client)
			if test.account != nil {
				test.account(&config)
			}
			r := h.start(worker.Config{Accounts: []worker.Account{config}})
			event := roomlinktest.Started("call-1")
			event.Data.ApplicationID = "app-2"
			began := time.Now()
			h.publish(event)

			letter := h.deadLetter("call-1")
			h.wantSettled()
			r.mustStop()
			if !strings.Contains(letter.Detail, test.detail) || strings.Contains(letter.Detail, "hush") {
				t.Errorf("detail: got %q, want %q in it, and no secret", letter.Detail, test.detail)
			}
			wantLetter(t, letter, test.reason, test.status)
			wantTimes(t, letter, began)
			if want := len(s.Requests("call-1")); test.status != 401 && letter.Attempts != want {
				t.Errorf("attempts: got %d, want %d", letter.Attempts, want)
			}
			if got := s.Stats().RoomCalls; got != test.calls {
				t.Errorf("room calls: got %d, want %d", got, test.calls)
			}
			wantOriginal(t, letter, event)
			h.wantMessages(messages.LinksStream, 0)
			r.wantMetric(1, "roomlink_dead_letters_total", "reason", test.reason)
			r.wantMetric(1, "roomlink_events_settled_total", "outcome", "dead_lettered")
		})
	}
}

// TestUnknownOutcomesAreCounted: the worker counts every unknown outcome as a possible orphan room.
func TestUnknownOutcomesAreCounted(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	r := h.start(worker.Config{Accounts: []worker.Account{
		configured(account, fails(auvious.ErrUnknownOutcome), unknownRetries(1)),
	}})
	acks := h.acks()
	h.publish(roomlinktest.Started("call-1"))
	wantAck(t, acks, ack{"-NAK", 1, 1})
	wantAck(t, acks, ack{"+TERM", 2, 1})
	h.wantSettled()
	r.mustStop()
	r.wantMetric(2, "roomlink_orphans_possible_total", "cause", "unknown_outcome")
	r.wantMetric(2, "roomlink_orphans_possible_total") // and none with the cause redelivery
}

// TestRetry: the worker retries an event after a temporary failure.
func TestRetry(t *testing.T) {
	t.Parallel()
	statuses := []int{408, 425, 429, 500, 503}
	h := newHarness(t)
	s, client := serve(t, simulator.Config{})
	s.Script(func(call simulator.Call) *simulator.Answer {
		status, err := strconv.Atoi(call.InteractionID)
		if err != nil || call.Number > 1 {
			return nil
		}
		return &simulator.Answer{Status: status}
	})
	acks := h.acksIf(func(a ack) bool { return a.kind == "+ACK" })
	r := h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}})
	for _, status := range statuses {
		h.publish(roomlinktest.Started(strconv.Itoa(status)))
	}
	for range statuses {
		if got := roomlinktest.Receive(t, acks, "an acknowledgement"); got.delivery != 2 {
			t.Errorf("acknowledgement: got %v, want that of delivery 2", got)
		}
	}
	h.wantSettled()
	r.mustStop()
	for _, status := range statuses {
		if got := s.Rooms(strconv.Itoa(status)); got != 1 {
			t.Errorf("rooms after a %d: got %d, want 1", status, got)
		}
	}
	r.wantMetric(float64(len(statuses)), "roomlink_events_settled_total", "outcome", "retried")
	r.wantMetric(float64(len(statuses)), "roomlink_events_settled_total", "outcome", "linked")
	r.wantMetric(0, "roomlink_orphans_possible_total")
}

// TestBadEvents: unreadable events become dead letters and do not delay other events.
func TestBadEvents(t *testing.T) {
	t.Parallel()
	good := string(roomlinktest.Encode(t, roomlinktest.Started("call-1")))
	foreign := roomlinktest.Started("call-1")
	foreign.Data.Account = "other"
	long := strings.Repeat("x", 300)
	with := func(field string) string { return strings.Replace(good, `"data":{`, `"data":{`+field+",", 1) }
	tests := []struct {
		name, token, data string
		// id and detail are those of the dead letter. detail is part of the text.
		id, detail string
	}{
		{"not JSON", "no-json", "\x00hush", "no-json", "not the JSON"},
		{"invalid UTF-8", "no-utf8", "\xff\xfe", "no-utf8", "not the JSON"},
		{"empty", "empty", "", "empty", "not the JSON"},
		{"an array", "array", "[1,2]", "array", "not the JSON"},
		{"a number", "number", "7", "number", "not the JSON"},
		{"a string", "string", `"call-1"`, "string", "not the JSON"},
		{"null", "null", "null", "null", "specversion"},
		{"an empty object", "object", "{}", "object", "specversion"},
		{"another type", "type", string(roomlinktest.Encode(t, roomlinktest.Links("type", 1))), "type", "want \"roomlink.conversation.started.v1\""},
		{"another version", "version", strings.ReplaceAll(good, "started.v1", "started.v2"), "version", "type"},
		{"without an id", "no-id", strings.Replace(good, `"id":"`, `"ID_":"`, 1), "no-id", "id is empty"},
		{"the subject of another conversation", "call-2", good, "call-1", "that of another conversation"},
		{"the subject of another account", "call-1", string(roomlinktest.Encode(t, foreign)), "call-1", "that of another conversation"},
		{"a ticket that lasts longer than time", "ticket", with(`"ticketExpirationSeconds":9223372036854775807`), "ticket", "ticketExpirationSeconds"},
		{"a ticket that lasts 10 years and a second", "ticket-10", with(`"ticketExpirationSeconds":315360001`), "ticket-10", "ticketExpirationSeconds"},
		{"a ticket that has ended before", "ticket-past", with(`"ticketExpirationSeconds":-1`), "ticket-past", "ticketExpirationSeconds"},
		{"a ticket beyond any number", "ticket-more", with(`"ticketExpirationSeconds":9223372036854775808`), "ticket-more", "not the JSON"},
		{"the last generation of all", "renews", with(`"renews":9223372036854775807`), "renews", "renews"},
		{"replays without end", "replays", with(`"replays":9223372036854775807`), "replays", "replays"},
		{"a template for a token", "{{call_id}}", "{}", messages.Token("{{call_id}}"), "specversion"},
		{"a token too long for an id", long, "{}", messages.Token(long), "specversion"},
		{"a hashed token", messages.Token("a b"), "{}", messages.Token("a b"), "specversion"},
	}
	h := newHarness(t)
	for _, test := range tests {
		h.publishRaw(test.token, []byte(test.data))
	}
	h.publish(roomlinktest.Started("call-after"))
	acks := h.acks()
	f, calls := recorded(makes())
	r := h.start(worker.Config{Accounts: []worker.Account{configured(account, f, concurrency(1))}})
	for i := range tests {
		wantAck(t, acks, ack{"+TERM", 1, uint64(i + 1)})
	}
	wantAck(t, acks, ack{"+ACK", 1, uint64(len(tests) + 1)})
	h.wantSettled()
	r.mustStop()
	if len(calls) != 1 {
		t.Errorf("calls: got %d, want 1 for the good event", len(calls))
	}
	for _, test := range tests {
		letter := h.deadLetterOn(test.token)
		wantLetter(t, letter, messages.ReasonBadEvent, 0)
		if letter.InteractionID != test.id || letter.Attempts != 1 || !strings.Contains(letter.Detail, test.detail) {
			t.Errorf("%s: got %q after %d attempts with detail %q, want %q after 1 with %q",
				test.name, letter.InteractionID, letter.Attempts, letter.Detail, test.id, test.detail)
		}
		if got, want := encode(t, letter.Event), encode(t, preserved(t, test.data)); got != want {
			t.Errorf("%s: got original %s, want %s", test.name, got, want)
		}
	}
}

// TestDeadLetterIsCleared: links delete a dead letter of their generation or of an earlier one.
func TestDeadLetterIsCleared(t *testing.T) {
	t.Parallel()
	tests := []struct {
		id     string
		dead   int // the generation that the dead event replaces
		renews int // the generation that the event replaces
		linked bool
		stays  bool
	}{
		{id: "same-generation"},
		{id: "earlier-generation", renews: 1},
		{id: "later-generation", dead: 1, stays: true},
		{id: "redelivery", linked: true},
		{id: "redelivery-later-generation", dead: 1, linked: true, stays: true},
	}
	h := newHarness(t)
	for _, test := range tests {
		h.storeDeadLetter(test.id, roomlinktest.Encode(t, roomlinktest.Renewal(test.id, test.dead)))
		if test.linked {
			h.publishLinks(roomlinktest.Links(test.id, 1), 0)
		}
		h.publish(roomlinktest.Renewal(test.id, test.renews))
	}
	r := h.startWith(makes())
	h.wantSettled()
	r.mustStop()
	for _, test := range tests {
		_, err := h.store.DeadLetter(roomlinktest.Context(t), roomlinktest.Conversation(test.id), store.Leader)
		if err != nil && !errors.Is(err, messages.ErrNotFound) {
			t.Fatalf("reading the dead letter of %q: %v", test.id, err)
		}
		if stays := err == nil; stays != test.stays {
			t.Errorf("dead letter of %q: got it stored: %v, want %v", test.id, stays, test.stays)
		}
		h.storedLinks(test.id)
	}
}

// TestUnreadableDeadLetter: an unreadable dead letter does not hold up the event.
func TestUnreadableDeadLetter(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	subject := roomlinktest.Conversation("call-1").DeadLetterSubject()
	if _, err := h.store.JetStream().Publish(roomlinktest.Context(t), subject, []byte("unreadable")); err != nil {
		t.Fatalf("publishing: %v", err)
	}
	acks := h.acks()
	r := h.startWith(makes())
	h.publish(roomlinktest.Started("call-1"))
	wantAck(t, acks, ack{"+ACK", 1, 1})
	h.wantSettled()
	r.mustStop()
	r.wantMetric(1, "roomlink_facade_calls_total")
}

// TestReplay: after the failure has ended, the replay of a dead letter leads to links.
func TestReplay(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	healthy := make(chan struct{})
	r := h.startWith(facade(func(_ context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		select {
		case <-healthy:
			return roomOf(request), nil
		default:
			return auvious.Room{}, &auvious.CallError{Kind: auvious.ErrRejected, Status: 422, Detail: "no"}
		}
	}))
	h.publish(roomlinktest.Started("call-1"))
	h.deadLetter("call-1")
	h.wantSettled()
	letter, err := h.store.DeadLetter(roomlinktest.Context(t), roomlinktest.Conversation("call-1"), store.Leader)
	if err != nil {
		t.Fatalf("reading the dead letter: %v", err)
	}
	close(healthy)
	if outcome, err := h.store.Replay(roomlinktest.Context(t), letter); err != nil || outcome != store.Accepted {
		t.Fatalf("replaying: got %v and error %v, want %v", outcome, err, store.Accepted)
	}
	if got := h.links("call-1").Generation; got != 1 {
		t.Errorf("generation: got %d, want 1", got)
	}
	h.wantSettled()
	r.mustStop()
	h.wantMessages(messages.DeadLettersStream, 0)
}

// storeDeadLetter stores the dead letter of an event.
func (h *harness) storeDeadLetter(id string, original []byte) {
	h.tb.Helper()
	roomlinktest.PublishDeadLetter(h.tb, h.store, messages.NewEvent(roomlinktest.Noon, messages.DeadLetter{
		Conversation: roomlinktest.Conversation(id), Reason: messages.ReasonRejected, Attempts: 1,
		AcceptedAt: roomlinktest.Noon, LastAttemptAt: roomlinktest.Noon, Event: original,
	}))
}

func wantLetter(tb testing.TB, letter messages.DeadLetter, reason string, status int) {
	tb.Helper()
	if letter.Account != account || letter.Reason != reason || letter.HTTPStatus != status {
		tb.Errorf("dead letter: got reason %q, status %d and account %q, want %q, %d and %q",
			letter.Reason, letter.HTTPStatus, letter.Account, reason, status, account)
	}
}

// wantTimes checks that the times of a dead letter are in order. They are truncated to milliseconds.
func wantTimes(tb testing.TB, letter messages.DeadLetter, began time.Time) {
	tb.Helper()
	accepted, tried := letter.AcceptedAt.Time, letter.LastAttemptAt.Time
	if accepted.Before(began.Add(-time.Millisecond)) || tried.Before(accepted) || tried.After(time.Now()) {
		tb.Errorf("times: got accepted %v and tried %v, want them in this order and after %v", accepted, tried, began)
	}
}

// wantOriginal checks that a dead letter contains the whole event.
func wantOriginal(tb testing.TB, letter messages.DeadLetter, want messages.Event[messages.Started]) {
	tb.Helper()
	if got, want := encode(tb, letter.Event), string(roomlinktest.Encode(tb, want)); got != want {
		tb.Errorf("original: got %s, want %s", got, want)
	}
}

// preserved returns data as a dead letter contains it: an object or a string unchanged, everything else as a string.
func preserved(tb testing.TB, data string) json.RawMessage {
	tb.Helper()
	if json.Valid([]byte(data)) && (data[0] == '{' || data[0] == '"') {
		return json.RawMessage(data)
	}
	return json.RawMessage(encode(tb, data))
}
