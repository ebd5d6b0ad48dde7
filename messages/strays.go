package messages

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stray is an event that its consumer counts as acknowledged and that is in the
// queue all the same. Nobody is given it any more, and it bars the conversation's
// next event. One was seen after a disk had been full (nats-server 2.15).
type Stray struct {
	Subject  string
	Data     []byte
	Sequence uint64
	StoredAt time.Time
}

// Stray returns the first stray of an account from a sequence on, or
// [ErrNotFound]. Its other errors are the broker's.
func (c *Client) Stray(ctx context.Context, account string, from uint64) (Stray, error) {
	consumer, err := c.js.Consumer(ctx, ConversationsStream, ConsumerName(account))
	if err != nil {
		return Stray{}, fmt.Errorf("looking for strays of %q: %w", account, err)
	}
	m, err := readNext(ctx, c.nc, ConversationsStream, eventSubjects+account+".*", from)
	if errors.Is(err, ErrNotFound) || err == nil && m.sequence > consumer.CachedInfo().AckFloor.Stream {
		return Stray{}, ErrNotFound
	}
	if err != nil {
		return Stray{}, fmt.Errorf("looking for strays of %q: %w", account, err)
	}
	return Stray{Subject: m.subject, Data: m.data, Sequence: m.sequence, StoredAt: m.storedAt}, nil
}

// RemoveStray takes a stray out of the queue. Its errors are the broker's; one
// that is gone already may be one of them.
func (c *Client) RemoveStray(ctx context.Context, stray Stray) error {
	request := map[string]any{"seq": stray.Sequence, "no_erase": true}
	if err := apiRequest(ctx, c.nc, "STREAM.MSG.DELETE."+ConversationsStream, request, nil); err != nil {
		return fmt.Errorf("removing a stray: %w", err)
	}
	return nil
}
