package messages_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// account is the one that the tests speak of.
const account = roomlinktest.Account

// newClient returns a client on a broker of its own.
func newClient(tb testing.TB) *messages.Client {
	tb.Helper()
	return roomlinktest.Client(tb, roomlinktest.StartBroker(tb, account))
}

// expiredLinksOf have expired long before the tests run.
func expiredLinksOf(id string) messages.Event[messages.Links] {
	e := roomlinktest.Links(id, 1)
	e.Data.ExpiresAt = messages.At(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC))
	return e
}

func deadLetterOf(tb testing.TB, id string) messages.Event[messages.DeadLetter] {
	tb.Helper()
	return messages.NewEvent(roomlinktest.Noon, messages.DeadLetter{
		Account:       account,
		InteractionID: id,
		Reason:        messages.ReasonRejected,
		Detail:        "auvious answered 422",
		HTTPStatus:    422,
		Attempts:      1,
		AcceptedAt:    roomlinktest.Noon,
		LastAttemptAt: roomlinktest.Noon,
		Event:         encode(tb, roomlinktest.Started(id)),
	})
}

func encode[T messages.Data](tb testing.TB, e messages.Event[T]) json.RawMessage {
	tb.Helper()
	data, err := e.Encode()
	if err != nil {
		tb.Fatalf("encoding: %v", err)
	}
	return data
}

func wantOutcome(
	tb testing.TB, client *messages.Client, e messages.Event[messages.Started], want messages.Outcome,
) {
	tb.Helper()
	got, err := client.Publish(roomlinktest.Context(tb), e)
	if err != nil || got != want {
		tb.Fatalf("publishing the event of %q: got %v and error %v, want %v", e.Data.InteractionID, got, err, want)
	}
}

// mustPublishDeadLetter stores a dead letter and reads it back.
func mustPublishDeadLetter(
	tb testing.TB, client *messages.Client, e messages.Event[messages.DeadLetter],
) messages.Stored[messages.DeadLetter] {
	tb.Helper()
	roomlinktest.PublishDeadLetter(tb, client, e)
	stored, err := client.DeadLetter(roomlinktest.Context(tb), e.Data.Conversation(), messages.Leader)
	if err != nil {
		tb.Fatalf("reading the dead letter of %q: %v", e.Data.InteractionID, err)
	}
	return stored
}

// wantMessages compares how many messages a stream holds.
func wantMessages(tb testing.TB, client *messages.Client, stream string, want uint64) {
	tb.Helper()
	if got := roomlinktest.Stream(tb, client, stream).CachedInfo().State.Msgs; got != want {
		tb.Fatalf("messages in stream %q: got %d, want %d", stream, got, want)
	}
}

// consumersCreated returns the names of the consumers that are made on a stream
// from now on, as the broker tells them.
func consumersCreated(tb testing.TB, nc *nats.Conn, stream string) <-chan string {
	tb.Helper()
	names := make(chan string, 64)
	sub, err := nc.Subscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED."+stream+".*", func(msg *nats.Msg) {
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
	tb.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.FlushWithContext(roomlinktest.Context(tb)); err != nil {
		tb.Fatalf("subscribing to advisories: %v", err)
	}
	return names
}
