package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

func TestPublishStoresAnEvent(t *testing.T) {
	s := newStore(t)
	e := roomlinktest.Started("two words")
	roomlinktest.Publish(t, s, e)
	stored, err := s.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("two words"))
	if err != nil {
		t.Fatalf("reading the event: %v", err)
	}
	if stored.ID != e.ID || stored.Subject != e.Data.EventSubject() || stored.Sequence != 1 {
		t.Errorf("event: got id %q on %q at %d, want %q on %q at 1", stored.ID, stored.Subject, stored.Sequence,
			e.ID, e.Data.EventSubject())
	}
	if age := time.Since(stored.StoredAt); age < 0 || age > time.Minute {
		t.Errorf("age of the event: got %v, want less than a minute", age)
	}
}

func TestPublishRefusesAnInvalidEvent(t *testing.T) {
	s := newStore(t)
	_, err := s.Publish(roomlinktest.Context(t), roomlinktest.Started("{{interaction_id}}"))
	if !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("publishing a template: got error %v, want %v", err, messages.ErrInvalid)
	}
	wantMessages(t, s, messages.ConversationsStream, 0)
}

func TestPublishChecksTheHealth(t *testing.T) {
	var unhealthy error
	s := store.New(newStore(t).JetStream(), store.WithHealthCheck(func() error { return unhealthy }))
	roomlinktest.Publish(t, s, roomlinktest.Started("before"))
	unhealthy = errors.New("invented")
	if _, err := s.Publish(roomlinktest.Context(t), roomlinktest.Started("meanwhile")); !errors.Is(err, unhealthy) {
		t.Errorf("publishing to an unhealthy broker: got error %v, want %v", err, unhealthy)
	}
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("before", 1), 0) // the check is only for events
	unhealthy = nil
	roomlinktest.Publish(t, s, roomlinktest.Started("after"))
	wantMessages(t, s, messages.ConversationsStream, 2)
}

func TestPublishReportsDuplicates(t *testing.T) {
	t.Run("message id of a waiting event", func(t *testing.T) {
		s := newStore(t)
		roomlinktest.Publish(t, s, roomlinktest.Started("a"))
		wantOutcome(t, s, roomlinktest.Started("a"), store.Duplicate)
	})
	t.Run("message id of a finished event", func(t *testing.T) {
		s := newStore(t)
		roomlinktest.Publish(t, s, roomlinktest.Started("a"))
		roomlinktest.SettleNext(t, s)
		wantOutcome(t, s, roomlinktest.Started("a"), store.Duplicate)
		wantMessages(t, s, messages.ConversationsStream, 0)
	})
	t.Run("subject of a waiting event", func(t *testing.T) {
		s := newStore(t)
		roomlinktest.Publish(t, s, roomlinktest.Started("a"))
		wantOutcome(t, s, roomlinktest.Renewal("a", 1), store.Duplicate)
		wantMessages(t, s, messages.ConversationsStream, 1)
	})
	t.Run("subject of a finished event", func(t *testing.T) {
		s := newStore(t)
		roomlinktest.Publish(t, s, roomlinktest.Started("a"))
		wantOutcome(t, s, roomlinktest.Renewal("a", 1), store.Duplicate)
		roomlinktest.SettleNext(t, s)
		wantOutcome(t, s, roomlinktest.Renewal("a", 1), store.Accepted)
	})
	t.Run("subject of an unreadable event", func(t *testing.T) {
		s := newStore(t)
		roomlinktest.PublishUnreadable(t, s, roomlinktest.Conversation("a").EventSubject())
		wantOutcome(t, s, roomlinktest.Started("a"), store.Duplicate)
	})
}

func TestPublishWhileAWorkerHoldsTheEvent(t *testing.T) {
	s := newStore(t)
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	consumer, err := store.ProvisionConsumer(roomlinktest.Context(t), s.JetStream(), account)
	if err != nil {
		t.Fatalf("providing the consumer: %v", err)
	}
	msg, err := consumer.Next()
	if err != nil {
		t.Fatalf("pulling the event: %v", err)
	}
	wantOutcome(t, s, roomlinktest.Renewal("a", 1), store.Duplicate)
	if err := msg.DoubleAck(roomlinktest.Context(t)); err != nil {
		t.Fatalf("acknowledging the event: %v", err)
	}
	wantOutcome(t, s, roomlinktest.Renewal("a", 1), store.Accepted)
}

func TestPublishKeepsAccountsApart(t *testing.T) {
	s := newStore(t)
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	other := roomlinktest.Started("a")
	other.Data.Account = "other"
	roomlinktest.Publish(t, s, other)
	wantMessages(t, s, messages.ConversationsStream, 2)
}

// The broker refuses an event for a full queue and a duplicate with the same code. A full
// queue that counts as a duplicate would lose the event.
func TestPublishToAFullQueue(t *testing.T) {
	s := roomlinktest.Store(t, roomlinktest.StartBrokerWith(t,
		broker.EmbeddedConfig{Dir: t.TempDir(), Sync: time.Minute}, store.StreamSettings{MaxBytes: 4096}))
	accepted := fillQueue(t, s)
	for i := range 10 {
		outcome, err := s.Publish(roomlinktest.Context(t), roomlinktest.Started(fmt.Sprintf("late-%d", i)))
		if !errors.Is(err, store.ErrQueueFull) || outcome == store.Duplicate {
			t.Fatalf("publishing to a full queue: got %v and error %v, want %v", outcome, err, store.ErrQueueFull)
		}
	}
	wantOutcome(t, s, roomlinktest.Started("early-0"), store.Duplicate)
	wantMessages(t, s, messages.ConversationsStream, uint64(accepted))
	roomlinktest.SettleNext(t, s)
	roomlinktest.Publish(t, s, roomlinktest.Started("late-0"))
}

// fillQueue publishes until the queue is full, and returns the number of events.
func fillQueue(t *testing.T, s *store.Store) int {
	t.Helper()
	for i := range 100 {
		outcome, err := s.Publish(roomlinktest.Context(t), roomlinktest.Started(fmt.Sprintf("early-%d", i)))
		if errors.Is(err, store.ErrQueueFull) && i > 0 {
			return i
		}
		if err != nil || outcome != store.Accepted {
			t.Fatalf("filling the queue: got %v and error %v, want %v", outcome, err, store.Accepted)
		}
	}
	t.Fatal("filling the queue: got 100 events accepted, want a full queue")
	return 0
}

func TestConcurrentPublishesOfOneConversation(t *testing.T) {
	for name, event := range map[string]func(int) messages.Event[messages.Started]{
		"one message id":  func(int) messages.Event[messages.Started] { return roomlinktest.Started("a") },
		"own message ids": func(i int) messages.Event[messages.Started] { return roomlinktest.Renewal("a", i) },
	} {
		t.Run(name, func(t *testing.T) {
			const publishers = 100
			s := newStore(t)
			var accepted, duplicates int
			for _, outcome := range publishConcurrently(t, s, publishers, event) {
				switch outcome {
				case store.Accepted:
					accepted++
				case store.Duplicate:
					duplicates++
				}
			}
			if accepted != 1 || duplicates != publishers-1 {
				t.Errorf("outcomes: got %d accepted and %d duplicates, want 1 and %d",
					accepted, duplicates, publishers-1)
			}
			wantMessages(t, s, messages.ConversationsStream, 1)
		})
	}
}

func publishConcurrently(
	t *testing.T, s *store.Store, publishers int, event func(int) messages.Event[messages.Started],
) []store.Outcome {
	t.Helper()
	ctx := roomlinktest.Context(t)
	start := make(chan struct{})
	outcomes := make([]store.Outcome, publishers)
	var group sync.WaitGroup
	for i := range publishers {
		group.Go(func() {
			<-start
			var err error
			if outcomes[i], err = s.Publish(ctx, event(i)); err != nil {
				t.Errorf("publisher %d: got error %v, want none", i, err)
			}
		})
	}
	close(start)
	group.Wait()
	return outcomes
}

func TestPublishLinksExpectsTheLatestSequence(t *testing.T) {
	s := newStore(t)
	first := roomlinktest.Links("a", 1)
	sequence := roomlinktest.PublishLinks(t, s, first, 0)
	for what, after := range map[string]uint64{"no links": 0, "later links": sequence + 1} {
		if _, err := s.PublishLinks(roomlinktest.Context(t), roomlinktest.Links("a", 2), after); !errors.Is(err, store.ErrSuperseded) {
			t.Errorf("publishing after %s: got error %v, want %v", what, err, store.ErrSuperseded)
		}
	}
	wantLinks(t, s, "a", first.ID)
	second := roomlinktest.Links("a", 2)
	if got := roomlinktest.PublishLinks(t, s, second, sequence); got <= sequence {
		t.Errorf("sequence: got %d, want more than %d", got, sequence)
	}
	wantLinks(t, s, "a", second.ID)
	wantMessages(t, s, messages.LinksStream, 1)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("b", 1), 0)
}

// After a lost acknowledgement a worker publishes its links again. The broker refuses them
// like the links of another worker.
func TestPublishLinksTwice(t *testing.T) {
	s := newStore(t)
	e := roomlinktest.Links("a", 1)
	roomlinktest.PublishLinks(t, s, e, 0)
	if _, err := s.PublishLinks(roomlinktest.Context(t), e, 0); !errors.Is(err, store.ErrSuperseded) {
		t.Errorf("publishing again: got error %v, want %v", err, store.ErrSuperseded)
	}
	wantLinks(t, s, "a", e.ID)
	wantMessages(t, s, messages.LinksStream, 1)
}

func TestConcurrentPublishesOfLinks(t *testing.T) {
	const workers = 20
	s, ctx := newStore(t), roomlinktest.Context(t)
	errs := make([]error, workers)
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { _, errs[i] = s.PublishLinks(ctx, roomlinktest.Links("a", 1), 0) })
	}
	group.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, store.ErrSuperseded) {
			t.Errorf("publishing: got error %v, want %v", err, store.ErrSuperseded)
		}
	}
	if won != 1 {
		t.Errorf("workers that stored their links: got %d, want 1", won)
	}
}

func wantLinks(t *testing.T, s *store.Store, id, want string) {
	t.Helper()
	for _, from := range []store.Consistency{store.Any, store.Leader} {
		stored, err := s.Links(roomlinktest.Context(t), roomlinktest.Conversation(id), from)
		if err != nil || stored.ID != want {
			t.Errorf("links of %q from %v: got %q and error %v, want %q", id, from, stored.ID, err, want)
		}
		if stored.Subject != roomlinktest.Conversation(id).LinksSubject() || stored.StoredAt.IsZero() {
			t.Errorf("links of %q from %v: got %q stored at %v, want %q", id, from,
				stored.Subject, stored.StoredAt, roomlinktest.Conversation(id).LinksSubject())
		}
	}
}

func TestReadingMissingMessages(t *testing.T) {
	s, ctx := newStore(t), roomlinktest.Context(t)
	for _, from := range []store.Consistency{store.Any, store.Leader} {
		_, linksErr := s.Links(ctx, roomlinktest.Conversation("a"), from)
		_, letterErr := s.DeadLetter(ctx, roomlinktest.Conversation("a"), from)
		_, waitingErr := s.Waiting(ctx, roomlinktest.Conversation("a"))
		for what, err := range map[string]error{"links": linksErr, "dead letter": letterErr, "event": waitingErr} {
			if !errors.Is(err, messages.ErrNotFound) {
				t.Errorf("%s: got error %v, want %v", what, err, messages.ErrNotFound)
			}
		}
		if _, err := s.Links(ctx, roomlinktest.Conversation(""), from); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("links of an empty id: got error %v, want %v", err, messages.ErrInvalid)
		}
	}
}

func TestReadingUnreadableLinks(t *testing.T) {
	s, ctx := newStore(t), roomlinktest.Context(t)
	roomlinktest.PublishUnreadable(t, s, roomlinktest.Conversation("a").LinksSubject())
	if _, err := s.Links(ctx, roomlinktest.Conversation("a"), store.Any); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("links: got error %v, want %v", err, messages.ErrInvalid)
	}
}

func TestOutcomeString(t *testing.T) {
	if got := fmt.Sprint(store.Accepted, store.Duplicate); got != "accepted duplicate" {
		t.Errorf("outcomes: got %q, want %q", got, "accepted duplicate")
	}
}
