package store_test

import (
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
)

func TestDepth(t *testing.T) {
	s := newStore(t)
	wantDepth(t, s, 0, 0) // there is no consumer yet
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	roomlinktest.SettleNext(t, s)
	wantDepth(t, s, 0, 0)
	roomlinktest.Publish(t, s, roomlinktest.Started("b"))
	roomlinktest.Publish(t, s, roomlinktest.Started("c"))
	other := roomlinktest.Started("d")
	other.Data.Account = "other"
	roomlinktest.Publish(t, s, other)
	wantDepth(t, s, 2, time.Hour)
	consumer, err := store.ProvisionConsumer(roomlinktest.Context(t), s.JetStream(), account)
	if err != nil {
		t.Fatalf("providing the consumer: %v", err)
	}
	if _, err := consumer.Next(); err != nil {
		t.Fatalf("pulling an event: %v", err)
	}
	wantDepth(t, s, 2, time.Hour)
	roomlinktest.SettleNext(t, s)
	wantDepth(t, s, 1, time.Hour)
}

// wantDepth waits for a depth at a time in the future. age is how far that time is away.
// The broker counts an event shortly after it acknowledged the event.
func wantDepth(t *testing.T, s *store.Store, want uint64, age time.Duration) {
	t.Helper()
	ctx, got := roomlinktest.Context(t), want+1
	for got != want {
		depth, oldest, err := s.Depth(ctx, account, time.Now().Add(age))
		if err != nil {
			t.Fatalf("depth: got %d and error %v, want %d", got, err, want)
		}
		if got = depth; got == want && (oldest < age-time.Minute || oldest > age+time.Minute) {
			t.Errorf("age of the oldest event: got %v, want about %v", oldest, age)
		}
	}
}
