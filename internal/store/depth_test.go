package store_test

import (
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
)

func TestDepth(t *testing.T) {
	client := newClient(t)
	wantDepth(t, client, 0, 0) // No consumer yet.
	roomlinktest.Publish(t, client, roomlinktest.Started("a"))
	roomlinktest.SettleNext(t, client)
	wantDepth(t, client, 0, 0)
	roomlinktest.Publish(t, client, roomlinktest.Started("b"))
	roomlinktest.Publish(t, client, roomlinktest.Started("c"))
	other := roomlinktest.Started("d")
	other.Data.Account = "other"
	roomlinktest.Publish(t, client, other)
	wantDepth(t, client, 2, time.Hour)
	consumer, err := store.ProvisionConsumer(roomlinktest.Context(t), client.JetStream(), account)
	if err != nil {
		t.Fatalf("providing the consumer: %v", err)
	}
	if _, err := consumer.Next(); err != nil {
		t.Fatalf("pulling an event: %v", err)
	}
	wantDepth(t, client, 2, time.Hour)
	roomlinktest.SettleNext(t, client)
	wantDepth(t, client, 1, time.Hour)
}

// wantDepth asks as if the time were later by an age.
func wantDepth(t *testing.T, client *store.Store, want uint64, age time.Duration) {
	t.Helper()
	depth, oldest, err := client.Depth(roomlinktest.Context(t), account, time.Now().Add(age))
	if err != nil || depth != want {
		t.Fatalf("depth: got %d and error %v, want %d", depth, err, want)
	}
	if oldest < age-time.Minute || oldest > age+time.Minute {
		t.Errorf("age of the oldest: got %v, want about %v", oldest, age)
	}
}
