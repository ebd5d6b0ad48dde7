package store_test

import (
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

const account = roomlinktest.Account

// newStore returns a store on a broker of its own.
func newStore(tb testing.TB, options ...store.Option) *store.Store {
	tb.Helper()
	return store.New(roomlinktest.Connect(tb, roomlinktest.StartBroker(tb)), options...)
}

func wantOutcome(tb testing.TB, s *store.Store, e messages.Event[messages.Started], want store.Outcome) {
	tb.Helper()
	got, err := s.Publish(roomlinktest.Context(tb), e)
	if err != nil || got != want {
		tb.Fatalf("publishing the event of %q: got %v and error %v, want %v", e.Data.InteractionID, got, err, want)
	}
}

// publishDeadLetter stores a dead letter and reads it back.
func publishDeadLetter(
	tb testing.TB, s *store.Store, e messages.Event[messages.DeadLetter],
) messages.Stored[messages.DeadLetter] {
	tb.Helper()
	roomlinktest.PublishDeadLetter(tb, s, e)
	stored, err := s.DeadLetter(roomlinktest.Context(tb), e.Data.Conversation, store.Leader)
	if err != nil {
		tb.Fatalf("reading the dead letter of %q: %v", e.Data.InteractionID, err)
	}
	return stored
}

// wantMessages checks the number of messages in a stream.
func wantMessages(tb testing.TB, s *store.Store, stream string, want uint64) {
	tb.Helper()
	if got := roomlinktest.Stream(tb, s, stream).CachedInfo().State.Msgs; got != want {
		tb.Fatalf("messages in stream %q: got %d, want %d", stream, got, want)
	}
}
