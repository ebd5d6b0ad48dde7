package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker/auvious"
)

// These tests repeat histories that [TestModel] found.

// TestDeadLetterAfterLinks: another delivery of an event stores its links during the call. However the call ends, the
// event has links and no dead letter.
func TestDeadLetterAfterLinks(t *testing.T) {
	t.Parallel()
	for _, kind := range []auvious.Kind{auvious.ErrRejected, auvious.ErrBadAnswer, auvious.ErrUnknownOutcome} {
		t.Run(kind.Error(), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			r := h.startWith(facade(func(context.Context, auvious.RoomRequest) (auvious.Room, error) {
				h.publishLinks(roomlinktest.Links("call-1", 1), 0)
				return auvious.Room{}, &auvious.CallError{Kind: kind, Detail: "invented"}
			}))
			h.publish(roomlinktest.Started("call-1"))
			h.wantSettled()
			r.mustStop()
			h.wantMessages(messages.LinksStream, 1)
			h.wantMessages(messages.DeadLettersStream, 0)
			state, err := h.store.State(roomlinktest.Context(t), roomlinktest.Conversation("call-1"), time.Now())
			if err != nil || state.Status != store.StatusReady {
				t.Errorf("state: got %q and error %v, want %q", state.Status, err, store.StatusReady)
			}
		})
	}
}

// TestReplayOfAWaitingEvent: a worker stores a dead letter and then removes the event. A replay between the two must not
// mistake the dead event for its own. Otherwise it deletes the dead letter, the worker removes the event, and nothing
// is left.
func TestReplayOfAWaitingEvent(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.publish(roomlinktest.Started("call-1"))
	consumer, err := store.ProvisionConsumer(roomlinktest.Context(t), h.store.JetStream(), account)
	if err != nil {
		t.Fatalf("provisioning the consumer: %v", err)
	}
	msg, err := consumer.Next(jetstream.FetchContext(roomlinktest.Context(t)))
	if err != nil {
		t.Fatalf("pulling an event: %v", err)
	}
	meta, err := msg.Metadata()
	if err != nil {
		t.Fatalf("reading the metadata of the event: %v", err)
	}
	roomlinktest.PublishDeadLetter(t, h.store, messages.NewEvent(messages.At(time.Now()), messages.DeadLetter{
		Conversation: roomlinktest.Conversation("call-1"), Reason: messages.ReasonRejected, Attempts: 1,
		AcceptedAt: messages.At(meta.Timestamp), LastAttemptAt: messages.At(time.Now()), Event: msg.Data(),
	}))
	stored, err := h.store.DeadLetter(roomlinktest.Context(t), roomlinktest.Conversation("call-1"), store.Leader)
	if err != nil {
		t.Fatalf("reading the dead letter: %v", err)
	}
	if outcome, err := h.store.Replay(roomlinktest.Context(t), stored); err != nil && !errors.Is(err, store.ErrWaiting) {
		t.Fatalf("replaying: got %v and error %v, want an outcome or ErrWaiting", outcome, err)
	}
	if err := msg.TermWithReason(messages.ReasonRejected); err != nil {
		t.Fatalf("removing the event: %v", err)
	}
	roomlinktest.Await(h.tb, "the end of the delivery", func() bool { return h.consumer().NumAckPending == 0 })
	state, err := h.store.State(roomlinktest.Context(t), roomlinktest.Conversation("call-1"), time.Now())
	if err != nil || state.Status == store.StatusUnknown {
		t.Errorf("state: got %q and error %v, want the event or its dead letter", state.Status, err)
	}
}
