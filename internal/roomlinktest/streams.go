package roomlinktest

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

// Publish stores an event, which must be accepted.
func Publish(tb testing.TB, client *messages.Client, e messages.Event[messages.Started]) {
	tb.Helper()
	got, err := client.Publish(Context(tb), e)
	if err != nil || got != messages.Accepted {
		tb.Fatalf("publishing the event of %q: got %v and error %v, want %v",
			e.Data.InteractionID, got, err, messages.Accepted)
	}
}

// PublishLinks stores links after those that are there, and returns their sequence.
func PublishLinks(
	tb testing.TB, client *messages.Client, e messages.Event[messages.Links], after uint64,
) uint64 {
	tb.Helper()
	sequence, err := client.PublishLinks(Context(tb), e, after)
	if err != nil {
		tb.Fatalf("publishing the links of %q: %v", e.Data.InteractionID, err)
	}
	return sequence
}

// PublishDeadLetter stores a dead letter.
func PublishDeadLetter(tb testing.TB, client *messages.Client, e messages.Event[messages.DeadLetter]) {
	tb.Helper()
	if err := client.PublishDeadLetter(Context(tb), e, e.Data.Conversation().Token()); err != nil {
		tb.Fatalf("publishing the dead letter of %q: %v", e.Data.InteractionID, err)
	}
}

// SettleNext takes the next event of [Account] out of the queue, as a worker does,
// and returns it.
func SettleNext(tb testing.TB, client *messages.Client) jetstream.Msg {
	tb.Helper()
	ctx := Context(tb)
	consumer, err := messages.ProvisionConsumer(ctx, client.JetStream(), Account)
	if err != nil {
		tb.Fatalf("providing the consumer: %v", err)
	}
	msg, err := consumer.Next(jetstream.FetchContext(ctx))
	if err != nil {
		tb.Fatalf("pulling an event: %v", err)
	}
	if err := msg.DoubleAck(ctx); err != nil {
		tb.Fatalf("acknowledging an event: %v", err)
	}
	return msg
}

// Watch tells of the links of [Account] until the test ends.
func Watch(
	tb testing.TB, client *messages.Client, options messages.WatchOptions,
) <-chan messages.Stored[messages.Links] {
	tb.Helper()
	told := make(chan messages.Stored[messages.Links], 64)
	ctx, cancel := context.WithCancel(Context(tb))
	done := make(chan error, 1)
	go func() {
		done <- client.Watch(ctx, Account, options, func(links messages.Stored[messages.Links]) error {
			told <- links
			return nil
		})
	}()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			tb.Errorf("end of the watch: got %v, want %v", err, context.Canceled)
		}
	})
	return told
}
