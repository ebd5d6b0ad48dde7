package messages

import (
	"context"
	"strconv"
	"time"
)

// Latest is what a decision about a conversation hangs on: its last links and its
// dead letter, as the leaders have them.
type Latest struct {
	// Links are nil if there are none.
	Links *Stored[Links]
	// DeadLetter is nil if there is none.
	DeadLetter *Stored[DeadLetter]
}

// Generation is that of the links; 0 without.
func (l Latest) Generation() int {
	if l.Links == nil {
		return 0
	}
	return l.Links.Data.Generation
}

// Valid reports whether there are links whose ticket has not ended.
func (l Latest) Valid(now time.Time) bool {
	return l.Links != nil && !l.Links.Data.Expired(now)
}

// Answered reports whether a state has links or a dead letter that came after
// what was known: an event that was published after it is done with.
func (l Latest) Answered(state State) bool {
	if state.Links != nil && state.Links.Data.Generation > l.Generation() {
		return true
	}
	letter := state.DeadLetter
	return letter != nil && (l.DeadLetter == nil || letter.Sequence > l.DeadLetter.Sequence)
}

// Latest reads what the leaders have of a conversation. Its errors are those of
// [Client.Links], without [ErrNotFound].
func (c *Client) Latest(ctx context.Context, conversation Conversation) (Latest, error) {
	seen, err := c.observeOutcome(ctx, conversation, observation{}, Leader)
	return Latest{Links: seen.links, DeadLetter: seen.deadLetter}, err
}

// PublishAfter publishes an event that asks for links in place of those that are
// known: for the first ones if there are none, else for a renewal. After a dead
// letter the broker's duplicate window does not hold it back, and two callers
// that saw the same are one. Its results are those of [Client.Publish].
func (c *Client) PublishAfter(ctx context.Context, e Event[Started], known Latest) (Outcome, error) {
	e.Data.Renews = known.Generation()
	id := e.Data.Conversation().MessageID(e.Data.Generation())
	if known.DeadLetter != nil {
		id = afterDeadLetter(id, known.DeadLetter.Sequence)
	}
	return c.publish(ctx, e, id)
}

// afterDeadLetter is the message id of an event that follows a dead letter.
func afterDeadLetter(id string, sequence uint64) string {
	return id + "/" + strconv.FormatUint(sequence, 10)
}

// Renew asks for new links of a conversation in place of those it has, with the
// fields that its caller once gave. Any number of renewals of the same links are
// one. It returns [ErrNotFound] for a conversation without links, else as
// [Client.Publish].
func (c *Client) Renew(
	ctx context.Context, conversation Conversation, source string, now time.Time,
) (Outcome, error) {
	known, err := c.Latest(ctx, conversation)
	if err != nil {
		return 0, err
	}
	if known.Links == nil {
		return 0, ErrNotFound
	}
	links := known.Links.Data
	return c.PublishAfter(ctx, NewEvent(At(now), Started{
		Account:       links.Account,
		InteractionID: links.InteractionID,
		CustomerID:    links.CustomerID,
		Channel:       ChannelAction,
		Source:        source,
		ReceivedAt:    At(now),
		RoomOptions:   links.RoomOptions,
	}), known)
}
