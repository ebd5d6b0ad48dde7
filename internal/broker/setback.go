package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

const (
	// leastSetBack is by how much the clock must have been set back to be noticed.
	leastSetBack = time.Second
	// resumeWithin bounds looking for what waits because of that.
	resumeWithin = time.Minute
)

// resume has events delivered at once that the store would keep until the clock is
// where it was before, if that was set back while nobody ran: those that were given
// back, and those that were not settled. The server tells by the clock when they are
// due, and nobody holds one yet.
func (b *Broker) resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resumeWithin)
	defer cancel()
	nc, err := b.connect("start")
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("connecting to the broker: %w", err)
	}
	stream, err := js.Stream(ctx, messages.ConversationsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // it is made later
	}
	if err != nil {
		return fmt.Errorf("reading stream %q: %w", messages.ConversationsStream, err)
	}
	if time.Until(stream.CachedInfo().State.LastTime) < leastSetBack {
		return nil
	}
	consumers := stream.ListConsumers(ctx)
	for consumer := range consumers.Info() {
		if consumer.NumAckPending == 0 {
			continue
		}
		b.log.Warn().Str("consumer", consumer.Name).Int("events", consumer.NumAckPending).
			Msg("clock was set back: events are delivered again")
		if _, err := js.ResetConsumer(ctx, messages.ConversationsStream, consumer.Name); err != nil {
			return fmt.Errorf("resetting consumer %q: %w", consumer.Name, err)
		}
	}
	return consumers.Err()
}
