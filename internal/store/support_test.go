package store_test

import (
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// account is the one that the tests speak of.
const account = roomlinktest.Account

// newClient returns a client on a broker of its own.
func newClient(tb testing.TB) *store.Store {
	tb.Helper()
	return roomlinktest.Client(tb, roomlinktest.StartBroker(tb, account))
}

func wantOutcome(
	tb testing.TB, client *store.Store, e messages.Event[messages.Started], want store.Outcome,
) {
	tb.Helper()
	got, err := client.Publish(roomlinktest.Context(tb), e)
	if err != nil || got != want {
		tb.Fatalf("publishing the event of %q: got %v and error %v, want %v", e.Data.InteractionID, got, err, want)
	}
}

// mustPublishDeadLetter stores a dead letter and reads it back.
func mustPublishDeadLetter(
	tb testing.TB, client *store.Store, e messages.Event[messages.DeadLetter],
) messages.Stored[messages.DeadLetter] {
	tb.Helper()
	roomlinktest.PublishDeadLetter(tb, client, e)
	stored, err := client.DeadLetter(roomlinktest.Context(tb), e.Data.Conversation, store.Leader)
	if err != nil {
		tb.Fatalf("reading the dead letter of %q: %v", e.Data.InteractionID, err)
	}
	return stored
}

// wantMessages compares how many messages a stream holds.
func wantMessages(tb testing.TB, client *store.Store, stream string, want uint64) {
	tb.Helper()
	if got := roomlinktest.Stream(tb, client, stream).CachedInfo().State.Msgs; got != want {
		tb.Fatalf("messages in stream %q: got %d, want %d", stream, got, want)
	}
}
