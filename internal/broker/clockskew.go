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
	// minClockSkew is the smallest step of the clock that matters.
	minClockSkew = time.Second
	resetTimeout = time.Minute
)

// redeliverAfterClockSkew makes the server deliver unacknowledged events again if the clock
// was set back while the server was down.
//
// The server stores by the wall clock when an event was delivered and when it is due again.
// After a step back of an hour, it would wait an hour longer. No worker holds an event at
// start, so it is safe to deliver every event again.
func (b *Broker) redeliverAfterClockSkew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resetTimeout)
	defer cancel()
	c, err := b.connect(RoleProvisioner, "start")
	if err != nil {
		return err
	}
	js := c.js
	defer js.Conn().Close()
	stream, err := js.Stream(ctx, messages.ConversationsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // provisioning makes it later
	}
	if err != nil {
		return fmt.Errorf("reading stream %q: %w", messages.ConversationsStream, err)
	}
	if time.Until(stream.CachedInfo().State.LastTime) < minClockSkew {
		return nil
	}
	consumers := stream.ListConsumers(ctx)
	for consumer := range consumers.Info() {
		if consumer.NumAckPending == 0 {
			continue
		}
		b.log.Warn().Str("consumer", consumer.Name).Int("events", consumer.NumAckPending).
			Msg("clock was set back: delivering events again")
		if _, err := js.ResetConsumer(ctx, messages.ConversationsStream, consumer.Name); err != nil {
			return fmt.Errorf("resetting consumer %q: %w", consumer.Name, err)
		}
	}
	return consumers.Err()
}
