package store

import (
	"context"
	"strconv"
	"time"

	"roomlink/messages"
)

// Snapshot is what a decision about a conversation depends on: its latest links and
// its dead letter, read from the leaders.
type Snapshot struct {
	// Links are nil if there are none.
	Links *messages.Stored[messages.Links]
	// DeadLetter is nil if there is none.
	DeadLetter *messages.Stored[messages.DeadLetter]
}

// Generation returns the generation of the links; 0 without links.
func (n Snapshot) Generation() int {
	if n.Links == nil {
		return 0
	}
	return n.Links.Data.Generation
}

// Valid reports whether there are links with a ticket that has not ended.
func (n Snapshot) Valid(now time.Time) bool {
	return n.Links != nil && !n.Links.Data.Expired(now)
}

// AnsweredBy reports whether a state has newer links or a newer dead letter than the
// snapshot: then an event that was published after the snapshot is done.
func (n Snapshot) AnsweredBy(state State) bool {
	links, letter := state.Links, state.DeadLetter
	return links != nil && links.Data.Generation > n.Generation() ||
		letter != nil && (n.DeadLetter == nil || letter.Sequence > n.DeadLetter.Sequence)
}

// Snapshot reads the snapshot of a conversation. Its errors are those of
// [Store.Links], without [messages.ErrNotFound].
func (s *Store) Snapshot(ctx context.Context, conversation messages.Conversation) (Snapshot, error) {
	return s.snapshot(ctx, conversation, Leader)
}

func (s *Store) snapshot(
	ctx context.Context, conversation messages.Conversation, from Consistency,
) (found Snapshot, err error) {
	if found.DeadLetter, err = optional(s.DeadLetter(ctx, conversation, from)); err != nil {
		return found, err
	}
	found.Links, err = optional(s.Links(ctx, conversation, from))
	return found, err
}

// PublishAfter publishes an event that asks for the links after those of a snapshot:
// the first links, or a renewal. If the snapshot has a dead letter, the broker's
// duplicate window does not hold the event back. Two callers with the same snapshot
// publish one event. Results and errors are those of [Store.Publish].
func (s *Store) PublishAfter(
	ctx context.Context, e messages.Event[messages.Started], known Snapshot,
) (Outcome, error) {
	e.Data.Renews = known.Generation()
	id := MessageID(e.Data)
	if known.DeadLetter != nil {
		id = afterDeadLetter(id, known.DeadLetter.Sequence)
	}
	return s.publish(ctx, e, id)
}

// afterDeadLetter returns the message id of an event that follows a dead letter.
func afterDeadLetter(id string, sequence uint64) string {
	return id + "/" + strconv.FormatUint(sequence, 10)
}

// Renew asks for new links of a conversation, with the options of the links that it
// has. Several renewals of the same links are one. It returns [messages.ErrNotFound]
// for a conversation without links. Other results and errors are those of
// [Store.Publish].
func (s *Store) Renew(
	ctx context.Context, conversation messages.Conversation, source string, now time.Time,
) (Outcome, error) {
	known, err := s.Snapshot(ctx, conversation)
	if err != nil {
		return 0, err
	}
	if known.Links == nil {
		return 0, messages.ErrNotFound
	}
	return s.PublishAfter(ctx, messages.NewEvent(messages.At(now), messages.Started{
		Request:    known.Links.Data.Request,
		Channel:    messages.ChannelAction,
		Source:     source,
		ReceivedAt: messages.At(now),
	}), known)
}
