package messages

import (
	"context"
	"errors"
	"time"
)

// Status is how far a conversation has come.
type Status string

// The statuses of a conversation.
const (
	// StatusReady: its links are there, and the ticket has not ended.
	StatusReady Status = "ready"
	// StatusPending: its event waits, or is being worked on.
	StatusPending Status = "pending"
	// StatusFailed: its event became a dead letter.
	StatusFailed Status = "failed"
	// StatusExpired: its links are there, and the ticket has ended.
	StatusExpired Status = "expired"
	// StatusUnknown: nothing is stored for it.
	StatusUnknown Status = "unknown"
)

// State is what is known of a conversation at one time.
type State struct {
	Status Status
	// Links are the last ones; nil if there are none.
	Links *Stored[Links]
	// DeadLetter is nil unless the status is [StatusFailed].
	DeadLetter *Stored[DeadLetter]
}

// Settled reports whether the conversation waits for nothing: it has links or a
// dead letter. One of which nothing is known may get its event any moment.
func (s State) Settled() bool {
	return s.Status != StatusPending && s.Status != StatusUnknown
}

// State reads the state of a conversation. Its errors are those of
// [Client.Links], without [ErrNotFound].
func (c *Client) State(ctx context.Context, conversation Conversation, now time.Time) (State, error) {
	seen, err := c.observe(ctx, conversation)
	if err != nil {
		return State{}, err
	}
	return seen.state(now), nil
}

// observation is what the three streams hold of a conversation.
type observation struct {
	// eventAt is when the event was stored that waits; zero if there is none.
	eventAt    time.Time
	deadLetter *Stored[DeadLetter]
	links      *Stored[Links]
}

// observe reads the event first, then the dead letter, then the links. A worker
// stores links or a dead letter before it takes the event out, so this order
// never finds nothing in between.
func (c *Client) observe(ctx context.Context, conversation Conversation) (observation, error) {
	var seen observation
	if err := conversation.Validate(); err != nil {
		return seen, err
	}
	var err error
	if seen.eventAt, err = c.waitingSince(ctx, conversation); err != nil {
		return seen, err
	}
	if seen, err = c.observeOutcome(ctx, conversation, seen, Any); err != nil {
		return seen, err
	}
	if seen.eventAt.IsZero() && seen.deadLetter == nil && seen.links == nil {
		// Nothing at all: unknown, or a replica that is behind.
		return c.observeOutcome(ctx, conversation, seen, Leader)
	}
	return seen, nil
}

func (c *Client) observeOutcome(
	ctx context.Context, conversation Conversation, seen observation, from Consistency,
) (observation, error) {
	var err error
	if seen.deadLetter, err = optional(c.DeadLetter(ctx, conversation, from)); err != nil {
		return seen, err
	}
	seen.links, err = optional(c.Links(ctx, conversation, from))
	return seen, err
}

// optional turns [ErrNotFound] into nil.
func optional[T Data](stored Stored[T], err error) (*Stored[T], error) {
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &stored, nil
}

// waits reports whether the event still asks for something. It leaves the queue
// only after its links or its dead letter are stored, so with newer ones there it
// is done with, and only not acknowledged yet.
func (o *observation) waits() bool {
	return !o.eventAt.IsZero() &&
		(o.links == nil || !o.links.StoredAt.After(o.eventAt)) &&
		(o.deadLetter == nil || !o.deadLetter.StoredAt.After(o.eventAt))
}

// add takes in what a watch saw.
func (o *observation) add(links *Stored[Links], deadLetter *Stored[DeadLetter]) {
	if links != nil && (o.links == nil || links.Sequence > o.links.Sequence) {
		o.links = links
	}
	if deadLetter != nil && (o.deadLetter == nil || deadLetter.Sequence > o.deadLetter.Sequence) {
		o.deadLetter = deadLetter
	}
}

// state decides between what is there.
func (o *observation) state(now time.Time) State {
	expired := o.links != nil && o.links.Data.Expired(now)
	failed := o.deadLetter != nil && (o.links == nil || o.deadLetter.StoredAt.After(o.links.StoredAt))
	waits := o.waits()
	switch {
	case waits && (o.links == nil || expired):
		return State{Status: StatusPending, Links: o.links}
	case waits:
		return State{Status: StatusReady, Links: o.links}
	case failed:
		return State{Status: StatusFailed, Links: o.links, DeadLetter: o.deadLetter}
	case expired:
		return State{Status: StatusExpired, Links: o.links}
	case o.links != nil:
		return State{Status: StatusReady, Links: o.links}
	}
	return State{Status: StatusUnknown}
}
