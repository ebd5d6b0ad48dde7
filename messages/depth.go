package messages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Depth returns how many events of an account wait for their room or are being
// worked on, and for how long the oldest of them. An account without a consumer
// has none that a worker would take. Its errors are the broker's.
func (c *Client) Depth(ctx context.Context, account string, now time.Time) (uint64, time.Duration, error) {
	consumer, err := c.js.Consumer(ctx, ConversationsStream, ConsumerName(account))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("measuring the queue of %q: %w", account, err)
	}
	info := consumer.CachedInfo()
	depth := info.NumPending + uint64(max(info.NumAckPending, 0))
	if depth == 0 {
		return 0, 0, nil
	}
	oldest, err := readNext(ctx, c.nc, ConversationsStream, eventSubjects+account+".*", 1)
	if errors.Is(err, ErrNotFound) {
		return 0, 0, nil // the last one was done with in between
	}
	if err != nil {
		return 0, 0, fmt.Errorf("measuring the queue of %q: %w", account, err)
	}
	return depth, max(now.Sub(oldest.storedAt), 0), nil
}
