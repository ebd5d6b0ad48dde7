package messages_test

import (
	"testing"
	"time"

	"roomlink/internal/eventtest"
	"roomlink/internal/waittest"
	"roomlink/messages"
)

func TestDepth(t *testing.T) {
	client := newClient(t)
	wantDepth(t, client, 0, 0) // No consumer yet.
	eventtest.Publish(t, client, eventtest.Started("a"))
	eventtest.SettleNext(t, client)
	wantDepth(t, client, 0, 0)
	eventtest.Publish(t, client, eventtest.Started("b"))
	eventtest.Publish(t, client, eventtest.Started("c"))
	other := eventtest.Started("d")
	other.Data.Account = "other"
	eventtest.Publish(t, client, other)
	wantDepth(t, client, 2, time.Hour)
	consumer, err := messages.ProvisionConsumer(waittest.Limited(t), client.JetStream(), account)
	if err != nil {
		t.Fatalf("providing the consumer: %v", err)
	}
	if _, err := consumer.Next(); err != nil {
		t.Fatalf("pulling an event: %v", err)
	}
	wantDepth(t, client, 2, time.Hour)
	eventtest.SettleNext(t, client)
	wantDepth(t, client, 1, time.Hour)
}

// wantDepth asks as if the time were later by an age.
func wantDepth(t *testing.T, client *messages.Client, want uint64, age time.Duration) {
	t.Helper()
	depth, oldest, err := client.Depth(waittest.Limited(t), account, time.Now().Add(age))
	if err != nil || depth != want {
		t.Fatalf("depth: got %d and error %v, want %d", depth, err, want)
	}
	if oldest < age-time.Minute || oldest > age+time.Minute {
		t.Errorf("age of the oldest: got %v, want about %v", oldest, age)
	}
}
