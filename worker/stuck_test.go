package worker_test

import (
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// stick publishes events and makes them stuck: the consumer counts them as acknowledged, but they are still stored. It
// also publishes one good event.
func (h *harness) stick(events ...messages.Event[messages.Started]) {
	h.tb.Helper()
	if _, err := store.ProvisionConsumer(roomlinktest.Context(h.tb), h.store.JetStream(), account); err != nil {
		h.tb.Fatalf("provisioning the consumer: %v", err)
	}
	for _, e := range events {
		h.publish(e)
	}
	h.publish(roomlinktest.Started("last"))
	js := roomlinktest.Connect(h.tb, h.broker)
	stream, err := js.Stream(roomlinktest.Context(h.tb), messages.ConversationsStream)
	if err != nil {
		h.tb.Fatalf("opening the stream: %v", err)
	}
	last := stream.CachedInfo().State.LastSeq
	if _, err := js.ResetConsumerToSequence(roomlinktest.Context(h.tb), messages.ConversationsStream, store.ConsumerName(account), last); err != nil {
		h.tb.Fatalf("resetting the consumer: %v", err)
	}
	if pending := h.consumer().NumPending; pending != 1 {
		h.tb.Fatalf("events that the consumer will deliver: got %d, want 1", pending)
	}
}

func TestStuckEvents(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.publishLinks(roomlinktest.Links("linked", 1), 0)
	h.stick(roomlinktest.Started("linked"), roomlinktest.Started("lost"))
	h.publishRaw("unreadable", []byte("unreadable"))
	f, calls := recorded(makes())
	r := h.startWith(f)
	called := map[string]bool{}
	for range 2 {
		called[roomlinktest.Receive(t, calls, "a call").InteractionID] = true
	}
	if !called["lost"] || !called["last"] {
		t.Errorf("calls: got %v, want those of lost and last", called)
	}
	h.links("lost")
	h.links("last")
	h.wantSettled()
	r.mustStop()
	r.wantMetric(2, "roomlink_facade_calls_total")
	if got := h.deadLetterOn("unreadable").Reason; got != messages.ReasonBadEvent {
		t.Errorf("dead letter: got reason %q, want %q", got, messages.ReasonBadEvent)
	}
}

// TestStuckEventWithUnknownOutcome: the first call of unknown outcome is the last, because each may leave a room.
func TestStuckEventWithUnknownOutcome(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.stick(roomlinktest.Started("lost"))
	r := h.start(worker.Config{Accounts: []worker.Account{
		configured(account, fails(auvious.ErrUnknownOutcome), unknownRetries(3)),
	}})
	if got := h.deadLetter("lost").Reason; got != messages.ReasonUnknownOutcome {
		t.Errorf("dead letter: got reason %q, want %q", got, messages.ReasonUnknownOutcome)
	}
	r.mustStop()
}
