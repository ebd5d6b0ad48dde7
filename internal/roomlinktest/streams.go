package roomlinktest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/store"
	"roomlink/messages"
)

// Publish stores an event. The store must accept it.
func Publish(tb testing.TB, s *store.Store, e messages.Event[messages.Started]) {
	tb.Helper()
	got, err := s.Publish(Context(tb), e)
	if err != nil || got != store.Accepted {
		tb.Fatalf("publishing the event of %q: got %v and error %v, want %v",
			e.Data.InteractionID, got, err, store.Accepted)
	}
}

// PublishLinks stores links and returns their sequence. after is the sequence of the
// latest links; 0 for none.
func PublishLinks(
	tb testing.TB, s *store.Store, e messages.Event[messages.Links], after uint64,
) uint64 {
	tb.Helper()
	sequence, err := s.PublishLinks(Context(tb), e, after)
	if err != nil {
		tb.Fatalf("publishing the links of %q: %v", e.Data.InteractionID, err)
	}
	return sequence
}

// PublishDeadLetter stores a dead letter.
func PublishDeadLetter(tb testing.TB, s *store.Store, e messages.Event[messages.DeadLetter]) {
	tb.Helper()
	if err := s.PublishDeadLetter(Context(tb), e, messages.Token(e.Data.InteractionID)); err != nil {
		tb.Fatalf("publishing the dead letter of %q: %v", e.Data.InteractionID, err)
	}
}

// PublishUnreadable stores a message that breaks the contract.
func PublishUnreadable(tb testing.TB, s *store.Store, subject string) {
	tb.Helper()
	if _, err := s.JetStream().Publish(Context(tb), subject, []byte("{}")); err != nil {
		tb.Fatalf("publishing on %q: %v", subject, err)
	}
}

// SettleNext pulls the next event of [Account], acknowledges it as a worker does, and
// returns it.
func SettleNext(tb testing.TB, s *store.Store) jetstream.Msg {
	tb.Helper()
	ctx := Context(tb)
	consumer, err := store.ProvisionConsumer(ctx, s.JetStream(), Account)
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

// Watch watches the links of [Account] as an operator until the test ends.
func Watch(
	tb testing.TB, s *store.Store, fromNow bool,
) <-chan messages.Stored[messages.Links] {
	tb.Helper()
	watched := make(chan messages.Stored[messages.Links], 64)
	ctx, cancel := context.WithCancel(Context(tb))
	done := make(chan error, 1)
	go func() {
		done <- s.WatchLinks(ctx, Account, fromNow, func(links messages.Stored[messages.Links]) error {
			watched <- links
			return nil
		})
	}()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			tb.Errorf("ending the watch: got error %v, want %v", err, context.Canceled)
		}
	})
	return watched
}

// ConsumersCreated returns the names of the consumers that the broker creates on a
// stream from now on.
func ConsumersCreated(tb testing.TB, nc *nats.Conn, stream string) <-chan string {
	tb.Helper()
	names := make(chan string, 64)
	subscription, err := nc.Subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED."+stream+".*", func(msg *nats.Msg) {
		var advisory struct {
			Consumer string `json:"consumer"`
		}
		if err := json.Unmarshal(msg.Data, &advisory); err == nil {
			names <- advisory.Consumer
		}
	})
	if err != nil {
		tb.Fatalf("subscribing to advisories: %v", err)
	}
	tb.Cleanup(func() { _ = subscription.Unsubscribe() })
	if err := nc.FlushWithContext(Context(tb)); err != nil {
		tb.Fatalf("subscribing to advisories: %v", err)
	}
	return names
}

// DeleteConsumers deletes all consumers of a stream. The broker may do that, too.
func DeleteConsumers(tb testing.TB, js jetstream.JetStream, stream string) {
	tb.Helper()
	handle, err := js.Stream(Context(tb), stream)
	if err != nil {
		tb.Fatalf("opening stream %q: %v", stream, err)
	}
	names := handle.ConsumerNames(Context(tb))
	for name := range names.Name() {
		if err := handle.DeleteConsumer(Context(tb), name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			tb.Fatalf("deleting consumer %q: %v", name, err)
		}
	}
	if err := names.Err(); err != nil {
		tb.Fatalf("listing consumers: %v", err)
	}
}

// WantLinks receives links and checks their conversation, their generation and their place in the stream.
func WantLinks(
	tb testing.TB, received <-chan messages.Stored[messages.Links], id string, generation int,
) {
	tb.Helper()
	links := Receive(tb, received, "links of "+id)
	if links.Data.InteractionID != id || links.Data.Generation != generation {
		tb.Errorf("links: got %q, generation %d, want %q, generation %d",
			links.Data.InteractionID, links.Data.Generation, id, generation)
	}
	if links.Sequence == 0 || links.StoredAt.IsZero() || links.Subject != Conversation(id).LinksSubject() {
		tb.Errorf("place of the links: got subject %q, sequence %d and time %v, want all three",
			links.Subject, links.Sequence, links.StoredAt)
	}
}
