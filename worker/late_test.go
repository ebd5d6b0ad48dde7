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

// What the model found, told without chance.

const (
	// deadLettersAreTakenBack says that a worker that stored a dead letter looks for
	// links of another delivery, and deletes its own then (settle.go).
	deadLettersAreTakenBack = true
	// replaysTellDeadEvents says that a replay refuses with [store.ErrWaiting] while
	// the event waits that the dead letter is of (messages/deadletters.go).
	replaysTellDeadEvents = true
)

// TestDeadLetterAfterLinks: while a call was under way, another delivery of its
// event brought it to its links. However the call ends, the event has its links
// and no dead letter beside them.
func TestDeadLetterAfterLinks(t *testing.T) {
	t.Parallel()
	if !deadLettersAreTakenBack {
		t.Skip("dead letters are not taken back yet")
	}
	for _, kind := range []auvious.Kind{auvious.ErrRejected, auvious.ErrBadAnswer, auvious.ErrUnknownOutcome} {
		t.Run(kind.Error(), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
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

// TestReplayBeforeItsEventIsGone: a worker stores the dead letter, then takes the
// event out. A replay in between must not take the waiting event for its own, or
// nothing of the two is left.
func TestReplayBeforeItsEventIsGone(t *testing.T) {
	t.Parallel()
	if !replaysTellDeadEvents {
		t.Skip("a replay takes a dead event for its own yet")
	}
	h := newHouse(t)
	h.publish(roomlinktest.Started("call-1"))
	consumer, err := store.ProvisionConsumer(roomlinktest.Context(t), h.store.JetStream(), account)
	if err != nil {
		t.Fatalf("providing the consumer: %v", err)
	}
	msg, err := consumer.Next(jetstream.FetchContext(roomlinktest.Context(t)))
	if err != nil {
		t.Fatalf("pulling an event: %v", err)
	}
	meta, err := msg.Metadata()
	if err != nil {
		t.Fatalf("reading what the broker says of the event: %v", err)
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
		t.Fatalf("replaying: got %v and error %v, want it done or refused", outcome, err)
	}
	if err := msg.TermWithReason(messages.ReasonRejected); err != nil {
		t.Fatalf("taking the event out: %v", err)
	}
	h.await("the end of the delivery", func() bool { return h.consumer().NumAckPending == 0 })
	state, err := h.store.State(roomlinktest.Context(t), roomlinktest.Conversation("call-1"), time.Now())
	if err != nil || state.Status == store.StatusUnknown {
		t.Errorf("state: got %q and error %v, want the event waiting or its dead letter: one of the two is lost", state.Status, err)
	}
}
