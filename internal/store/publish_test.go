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
	client := newClient(t)
	e := roomlinktest.Started("two words")
	roomlinktest.Publish(t, client, e)
	stored, err := client.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("two words"))
	if err != nil {
		t.Fatalf("reading the event: %v", err)
	}
	if stored.ID != e.ID || stored.Subject != e.Data.EventSubject() || stored.Sequence != 1 {
		t.Errorf("stored: got id %q on %q at %d, want %q on %q at 1", stored.ID, stored.Subject, stored.Sequence,
			e.ID, e.Data.EventSubject())
	}
	if age := time.Since(stored.StoredAt); age < 0 || age > time.Minute {
		t.Errorf("stored: got %v ago, want just now", age)
	}
}

func TestPublishRefusesWhatBreaksTheContract(t *testing.T) {
	client := newClient(t)
	_, err := client.Publish(roomlinktest.Context(t), roomlinktest.Started("{{interaction_id}}"))
	if !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("publishing a template: got error %v, want %v", err, messages.ErrInvalid)
	}
	wantMessages(t, client, messages.ConversationsStream, 0)
}

func TestPublishUnlessThereIsTrouble(t *testing.T) {
	var trouble error
	client := store.New(newClient(t).JetStream(), store.WithHealthCheck(func() error { return trouble }))
	roomlinktest.Publish(t, client, roomlinktest.Started("before"))
	trouble = errors.New("invented")
	if _, err := client.Publish(roomlinktest.Context(t), roomlinktest.Started("meanwhile")); !errors.Is(err, trouble) {
		t.Errorf("publishing in trouble: got error %v, want %v", err, trouble)
	}
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("before", 1), 0) // what is begun is tried to the end
	trouble = nil
	roomlinktest.Publish(t, client, roomlinktest.Started("after"))
	wantMessages(t, client, messages.ConversationsStream, 2)
}

func TestPublishKnowsDuplicates(t *testing.T) {
	t.Run("of an id while the event waits", func(t *testing.T) {
		client := newClient(t)
		roomlinktest.Publish(t, client, roomlinktest.Started("a"))
		wantOutcome(t, client, roomlinktest.Started("a"), store.Duplicate)
	})
	t.Run("of an id after it was done", func(t *testing.T) {
		client := newClient(t)
		roomlinktest.Publish(t, client, roomlinktest.Started("a"))
		roomlinktest.SettleNext(t, client)
		wantOutcome(t, client, roomlinktest.Started("a"), store.Duplicate)
		wantMessages(t, client, messages.ConversationsStream, 0)
	})
	t.Run("of a place while another event waits", func(t *testing.T) {
		client := newClient(t)
		roomlinktest.Publish(t, client, roomlinktest.Started("a"))
		wantOutcome(t, client, roomlinktest.Renewal("a", 1), store.Duplicate)
		wantMessages(t, client, messages.ConversationsStream, 1)
	})
	t.Run("of a place that is free again", func(t *testing.T) {
		client := newClient(t)
		roomlinktest.Publish(t, client, roomlinktest.Started("a"))
		wantOutcome(t, client, roomlinktest.Renewal("a", 1), store.Duplicate)
		roomlinktest.SettleNext(t, client)
		wantOutcome(t, client, roomlinktest.Renewal("a", 1), store.Accepted)
	})
	t.Run("of a place that something unreadable takes", func(t *testing.T) {
		client := newClient(t)
		if _, err := client.JetStream().Publish(roomlinktest.Context(t), roomlinktest.Conversation("a").EventSubject(), []byte("x")); err != nil {
			t.Fatalf("publishing something unreadable: %v", err)
		}
		wantOutcome(t, client, roomlinktest.Started("a"), store.Duplicate)
	})
}

func TestPublishWhileTheEventIsWorkedOn(t *testing.T) {
	client := newClient(t)
	roomlinktest.Publish(t, client, roomlinktest.Started("a"))
	consumer, err := store.ProvisionConsumer(roomlinktest.Context(t), client.JetStream(), account)
	if err != nil {
		t.Fatalf("providing the consumer: %v", err)
	}
	msg, err := consumer.Next()
	if err != nil {
		t.Fatalf("pulling the event: %v", err)
	}
	wantOutcome(t, client, roomlinktest.Renewal("a", 1), store.Duplicate)
	if err := msg.DoubleAck(roomlinktest.Context(t)); err != nil {
		t.Fatalf("acknowledging: %v", err)
	}
	wantOutcome(t, client, roomlinktest.Renewal("a", 1), store.Accepted)
}

func TestAccountsDoNotMeet(t *testing.T) {
	client := newClient(t)
	roomlinktest.Publish(t, client, roomlinktest.Started("a"))
	other := roomlinktest.Started("a")
	other.Data.Account = "other"
	roomlinktest.Publish(t, client, other)
	wantMessages(t, client, messages.ConversationsStream, 2)
}

// A full queue is refused with the same code as a duplicate; taken for one, the
// event would be lost.
func TestPublishToAFullQueue(t *testing.T) {
	client := roomlinktest.Client(t, roomlinktest.StartBrokerWith(t,
		broker.EmbeddedConfig{Dir: t.TempDir(), Sync: time.Minute}, store.StreamSettings{MaxBytes: 4096}))
	accepted := fill(t, client)
	for i := range 10 {
		outcome, err := client.Publish(roomlinktest.Context(t), roomlinktest.Started(fmt.Sprintf("late-%d", i)))
		if !errors.Is(err, store.ErrQueueFull) || outcome == store.Duplicate {
			t.Fatalf("publishing to a full queue: got %v and error %v, want %v", outcome, err, store.ErrQueueFull)
		}
	}
	wantOutcome(t, client, roomlinktest.Started("early-0"), store.Duplicate)
	wantMessages(t, client, messages.ConversationsStream, uint64(accepted))
	roomlinktest.SettleNext(t, client)
	roomlinktest.Publish(t, client, roomlinktest.Started("late-0"))
}

// fill publishes until the queue is full, and returns how many it took.
func fill(t *testing.T, client *store.Store) int {
	t.Helper()
	for i := range 100 {
		outcome, err := client.Publish(roomlinktest.Context(t), roomlinktest.Started(fmt.Sprintf("early-%d", i)))
		if errors.Is(err, store.ErrQueueFull) && i > 0 {
			return i
		}
		if err != nil || outcome != store.Accepted {
			t.Fatalf("filling the queue: got %v and error %v, want %v", outcome, err, store.Accepted)
		}
	}
	t.Fatal("filling the queue: got 100 events in, want it full")
	return 0
}

func TestConcurrentPublishesOfOneConversation(t *testing.T) {
	for name, event := range map[string]func(int) messages.Event[messages.Started]{
		"with one message id": func(int) messages.Event[messages.Started] { return roomlinktest.Started("a") },
		"each with its own":   func(i int) messages.Event[messages.Started] { return roomlinktest.Renewal("a", i) },
	} {
		t.Run(name, func(t *testing.T) {
			const publishers = 100
			client := newClient(t)
			var accepted, duplicates int
			for _, outcome := range publishAtOnce(t, client, publishers, event) {
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
			wantMessages(t, client, messages.ConversationsStream, 1)
		})
	}
}

func publishAtOnce(
	t *testing.T, client *store.Store, publishers int, event func(int) messages.Event[messages.Started],
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
			if outcomes[i], err = client.Publish(ctx, event(i)); err != nil {
				t.Errorf("publisher %d: got error %v, want none", i, err)
			}
		})
	}
	close(start)
	group.Wait()
	return outcomes
}

func TestPublishLinksExpectsTheLastOnes(t *testing.T) {
	client := newClient(t)
	first := roomlinktest.Links("a", 1)
	sequence := roomlinktest.PublishLinks(t, client, first, 0)
	for what, after := range map[string]uint64{"none": 0, "later ones": sequence + 1} {
		if _, err := client.PublishLinks(roomlinktest.Context(t), roomlinktest.Links("a", 2), after); !errors.Is(err, store.ErrSuperseded) {
			t.Errorf("publishing after %s: got error %v, want %v", what, err, store.ErrSuperseded)
		}
	}
	wantLinks(t, client, "a", first.ID)
	second := roomlinktest.Links("a", 2)
	if got := roomlinktest.PublishLinks(t, client, second, sequence); got <= sequence {
		t.Errorf("sequence: got %d, want more than %d", got, sequence)
	}
	wantLinks(t, client, "a", second.ID)
	wantMessages(t, client, messages.LinksStream, 1)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("b", 1), 0)
}

// After a lost PubAck the same event is refused like another's would be; the
// leader tells whose links are there.
func TestPublishLinksAgain(t *testing.T) {
	client := newClient(t)
	e := roomlinktest.Links("a", 1)
	roomlinktest.PublishLinks(t, client, e, 0)
	if _, err := client.PublishLinks(roomlinktest.Context(t), e, 0); !errors.Is(err, store.ErrSuperseded) {
		t.Errorf("publishing again: got error %v, want %v", err, store.ErrSuperseded)
	}
	wantLinks(t, client, "a", e.ID)
	wantMessages(t, client, messages.LinksStream, 1)
}

func TestConcurrentPublishesOfLinks(t *testing.T) {
	const workers = 20
	client, ctx := newClient(t), roomlinktest.Context(t)
	errs := make([]error, workers)
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { _, errs[i] = client.PublishLinks(ctx, roomlinktest.Links("a", 1), 0) })
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
		t.Errorf("workers that stored links: got %d, want 1", won)
	}
}

func wantLinks(t *testing.T, client *store.Store, id, want string) {
	t.Helper()
	for _, from := range []store.Consistency{store.Any, store.Leader} {
		stored, err := client.Links(roomlinktest.Context(t), roomlinktest.Conversation(id), from)
		if err != nil || stored.ID != want {
			t.Errorf("links of %q from %v: got %q and error %v, want %q", id, from, stored.ID, err, want)
		}
		if stored.Subject != roomlinktest.Conversation(id).LinksSubject() || stored.StoredAt.IsZero() {
			t.Errorf("links of %q from %v: got %q stored at %v, want %q", id, from,
				stored.Subject, stored.StoredAt, roomlinktest.Conversation(id).LinksSubject())
		}
	}
}

func TestReadingWhatIsNotThere(t *testing.T) {
	client, ctx := newClient(t), roomlinktest.Context(t)
	for _, from := range []store.Consistency{store.Any, store.Leader} {
		_, linksErr := client.Links(ctx, roomlinktest.Conversation("a"), from)
		_, letterErr := client.DeadLetter(ctx, roomlinktest.Conversation("a"), from)
		_, waitingErr := client.Waiting(ctx, roomlinktest.Conversation("a"))
		for what, err := range map[string]error{"links": linksErr, "dead letter": letterErr, "event": waitingErr} {
			if !errors.Is(err, messages.ErrNotFound) {
				t.Errorf("%s: got error %v, want %v", what, err, messages.ErrNotFound)
			}
		}
		if _, err := client.Links(ctx, roomlinktest.Conversation(""), from); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("links of no id: got error %v, want %v", err, messages.ErrInvalid)
		}
	}
}

func TestReadingWhatBreaksTheContract(t *testing.T) {
	client, ctx := newClient(t), roomlinktest.Context(t)
	if _, err := client.JetStream().Publish(ctx, roomlinktest.Conversation("a").LinksSubject(), []byte("{}")); err != nil {
		t.Fatalf("publishing: %v", err)
	}
	if _, err := client.Links(ctx, roomlinktest.Conversation("a"), store.Any); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("links: got error %v, want %v", err, messages.ErrInvalid)
	}
}

func TestOutcomePrints(t *testing.T) {
	if got := fmt.Sprint(store.Accepted, store.Duplicate); got != "accepted duplicate" {
		t.Errorf("outcomes: got %q, want %q", got, "accepted duplicate")
	}
}
