package worker_test

import (
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// astray publishes events and has the broker count them as acknowledged, and keep
// them: nobody would be given them.
func (h *house) astray(events ...messages.Event[messages.Started]) {
	h.tb.Helper()
	if _, err := store.ProvisionConsumer(roomlinktest.Context(h.tb), h.store.JetStream(), account); err != nil {
		h.tb.Fatalf("providing the consumer: %v", err)
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
		h.tb.Fatalf("events that are still to come: got %d, want 1", pending)
	}
}

func TestStrays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.publishLinks(roomlinktest.Links("linked", 1), 0)
	h.astray(roomlinktest.Started("linked"), roomlinktest.Started("lost"))
	h.publishRaw("unreadable", []byte("no event"))
	f, calls := signalled(makes())
	r := h.startWith(f)
	called := map[string]bool{}
	for range 2 {
		called[roomlinktest.Receive(t, calls, "a call").InteractionID] = true
	}
	if !called["lost"] || !called["last"] {
		t.Errorf("calls: got %v, want those of the lost event and of the last", called)
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
