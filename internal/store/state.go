package store

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

// Status is the progress of a conversation.
type Status string

// The statuses of a conversation.
const (
	// StatusReady: its links are stored, and the ticket has not ended.
	StatusReady Status = "ready"
	// StatusPending: its event waits, or a worker holds it.
	StatusPending Status = "pending"
	// StatusFailed: its event became a dead letter.
	StatusFailed Status = "failed"
	// StatusExpired: its links are stored, and the ticket has ended.
	StatusExpired Status = "expired"
	// StatusRevoked: its links are stored, and an operator revoked them.
	StatusRevoked Status = "revoked"
	// StatusUnknown: nothing is stored for it.
	StatusUnknown Status = "unknown"
)

// State is the state of a conversation at one moment.
type State struct {
	Status Status
	// Links are the latest ones; nil if there are none.
	Links *messages.Stored[messages.Links]
	// DeadLetter is nil unless the status is [StatusFailed].
	DeadLetter *messages.Stored[messages.DeadLetter]
}

// Done reports whether the conversation has its links or its dead letter. A
// conversation of status [StatusUnknown] is not done: its event may come any moment.
func (s State) Done() bool {
	return s.Status != StatusPending && s.Status != StatusUnknown
}

// HasRoom reports whether there are links that lead to a room: links that nobody revoked.
func (s State) HasRoom() bool { return s.Links != nil && !s.Links.Data.Revoked() }

// State reads the state of a conversation at the time now. Its errors are those of
// [Store.Links], without [messages.ErrNotFound].
func (s *Store) State(ctx context.Context, conversation messages.Conversation, now time.Time) (State, error) {
	seen, err := s.observe(ctx, conversation)
	if err != nil {
		return State{}, err
	}
	return seen.state(now), nil
}

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

// Valid reports whether there are links that nobody revoked, with a ticket that has not ended.
func (n Snapshot) Valid(now time.Time) bool {
	return n.Links != nil && !n.Links.Data.Expired(now) && !n.Revoked()
}

// Revoked reports whether there are links that an operator revoked.
func (n Snapshot) Revoked() bool { return n.Links != nil && n.Links.Data.Revoked() }

// AnsweredBy reports whether a state has newer links or a newer dead letter than the
// snapshot: then an event that was published after the snapshot is done.
func (n Snapshot) AnsweredBy(state State) bool {
	links, letter := state.Links, state.DeadLetter
	return links != nil && links.Data.Generation > n.Generation() ||
		letter != nil && newer(letter, n.DeadLetter)
}

// newer reports whether a message was stored after another one; nil is the oldest. A stream that
// was deleted and made again counts its sequences from 1 again, so a later time counts, too.
func newer[T messages.Data](m, than *messages.Stored[T]) bool {
	return than == nil || m.Sequence > than.Sequence || m.StoredAt.After(than.StoredAt)
}

// State returns the state of a conversation without a waiting event, at the time now.
func (n Snapshot) State(now time.Time) State {
	seen := observation{Snapshot: n}
	return seen.state(now)
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

// observation is what the three streams hold of a conversation.
type observation struct {
	// eventAt is the time at which the waiting event was stored; zero if none waits.
	eventAt time.Time
	// generation is the generation of links that the waiting event asks for.
	generation int
	Snapshot
}

// observe reads the event first, then the dead letter, then the links. A worker stores
// links or a dead letter before it acknowledges the event. So this order always finds
// at least one of them.
func (s *Store) observe(ctx context.Context, conversation messages.Conversation) (seen observation, err error) {
	if err := conversation.Validate(); err != nil {
		return seen, err
	}
	event, err := s.Waiting(ctx, conversation)
	switch {
	case err == nil || errors.Is(err, messages.ErrInvalid): // an unreadable event waits, too
		seen.eventAt, seen.generation = event.StoredAt, event.Data.Generation()
	case !errors.Is(err, messages.ErrNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound): // no queue, no event
		return seen, err
	}
	seen.Snapshot, err = s.snapshot(ctx, conversation, Any)
	if err == nil && seen.eventAt.IsZero() && seen.Snapshot == (Snapshot{}) {
		// The conversation is unknown, or the replica is behind.
		seen.Snapshot, err = s.snapshot(ctx, conversation, Leader)
	}
	return seen, err
}

// optional turns [messages.ErrNotFound] into nil.
func optional[T messages.Data](stored messages.Stored[T], err error) (*messages.Stored[T], error) {
	if errors.Is(err, messages.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &stored, nil
}

// waits reports whether the event still needs a worker. The event leaves the queue
// after its links or its dead letter are stored. If one of them is newer, the event
// only lacks its acknowledgement. A revocation stores links without a worker: those count
// only if they have the generation that the event asks for.
func (o *observation) waits() bool {
	linked := o.Links != nil && o.Links.StoredAt.After(o.eventAt) &&
		(!o.Revoked() || o.Links.Data.Generation >= o.generation)
	failed := o.DeadLetter != nil && o.DeadLetter.StoredAt.After(o.eventAt)
	return !o.eventAt.IsZero() && !linked && !failed
}

// add adds newer links or a newer dead letter.
func (o *observation) add(update Snapshot) {
	if links := update.Links; links != nil && newer(links, o.Links) {
		o.Links = links
	}
	if letter := update.DeadLetter; letter != nil && newer(letter, o.DeadLetter) {
		o.DeadLetter = letter
	}
}

func (o *observation) state(now time.Time) State {
	failed := o.DeadLetter != nil && (o.Links == nil || o.DeadLetter.StoredAt.After(o.Links.StoredAt))
	waits := o.waits()
	switch {
	case waits && !o.Valid(now):
		return State{Status: StatusPending, Links: o.Links}
	case failed && !waits:
		return State{Status: StatusFailed, Links: o.Links, DeadLetter: o.DeadLetter}
	case o.Revoked():
		return State{Status: StatusRevoked, Links: o.Links}
	case o.Valid(now):
		return State{Status: StatusReady, Links: o.Links}
	case o.Links != nil:
		return State{Status: StatusExpired, Links: o.Links}
	}
	return State{Status: StatusUnknown}
}
