package worker

import (
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
)

// TestGoneConsumers removes the consumer of an account that is gone, and no other.
func TestGoneConsumers(t *testing.T) {
	t.Parallel()
	s := roomlinktest.Store(t, roomlinktest.StartBroker(t))
	for _, account := range []string{"configured", "gone", "pulled", "waiting"} {
		consumer, err := store.ProvisionConsumer(roomlinktest.Context(t), s.JetStream(), account)
		if err != nil {
			t.Fatalf("providing the consumer of %q: %v", account, err)
		}
		if account == "pulled" { // by a process that has its account
			if _, err := consumer.Fetch(1); err != nil {
				t.Fatalf("pulling: %v", err)
			}
		}
	}
	event := roomlinktest.Started("a")
	event.Data.Account = "waiting"
	roomlinktest.Publish(t, s, event)
	w := &Worker{config: Config{Store: s, Provisioner: s.JetStream(), Logger: zerolog.Nop()}, accounts: map[string]*account{"configured": {}}}
	gone, began := goneConsumers{}, time.Now()
	look := func(at time.Duration, want ...string) {
		t.Helper()
		if err := gone.remove(roomlinktest.Context(t), w, began.Add(at)); err != nil {
			t.Fatalf("removing consumers: %v", err)
		}
		consumers, err := s.Consumers(roomlinktest.Context(t))
		var left []string
		for _, consumer := range consumers {
			left = append(left, consumer.Account)
		}
		slices.Sort(left)
		if err != nil || !slices.Equal(left, want) {
			t.Errorf("consumers after %v: got %v and error %v, want %v", at, left, err, want)
		}
	}
	look(0, "configured", "gone", "pulled", "waiting")
	look(goneGrace-time.Second, "configured", "gone", "pulled", "waiting")
	look(goneGrace, "configured", "pulled", "waiting")
	look(3*goneGrace, "configured", "pulled", "waiting")
}
