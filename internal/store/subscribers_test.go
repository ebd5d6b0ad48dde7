package store_test

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// subscribed returns an account with subscribers.
func subscribed(name string, all ...accounts.Subscriber) accounts.Account {
	return accounts.Account{Name: name, Subscribers: all}
}

func syncSubscribers(t *testing.T, s *store.Store, now time.Time, all ...accounts.Account) {
	t.Helper()
	if err := store.SyncSubscribers(roomlinktest.Context(t), s.JetStream(), all, now); err != nil {
		t.Fatalf("syncing the subscribers: got error %v, want none", err)
	}
}

// consumerInfo returns a consumer; nil if there is none.
func consumerInfo(t *testing.T, s *store.Store, stream, name string) *jetstream.ConsumerInfo {
	t.Helper()
	consumer, err := s.JetStream().Consumer(roomlinktest.Context(t), stream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	if err != nil {
		t.Fatalf("opening consumer %q of %q: %v", name, stream, err)
	}
	return consumer.CachedInfo()
}

func TestSubscriberConsumers(t *testing.T) {
	s := newStore(t)
	syncSubscribers(t, s, time.Now(), subscribed(account,
		accounts.Subscriber{Name: "crm", DeadLetters: true, From: accounts.FromAll}, accounts.Subscriber{Name: "board"}))
	for _, test := range []struct {
		stream, name, filter string
		from                 jetstream.DeliverPolicy
	}{
		{"ROOMLINK_LINKS", "acme_crm", "roomlink.links.acme.*", jetstream.DeliverAllPolicy},
		{"ROOMLINK_DEAD_LETTERS", "acme_crm", "roomlink.deadletters.acme.*", jetstream.DeliverAllPolicy},
		{"ROOMLINK_LINKS", "acme_board", "roomlink.links.acme.*", jetstream.DeliverNewPolicy},
	} {
		got := consumerInfo(t, s, test.stream, test.name)
		if got == nil {
			t.Errorf("consumer %q of %q: got none, want one", test.name, test.stream)
			continue
		}
		config := got.Config
		if config.FilterSubject != test.filter || config.DeliverPolicy != test.from ||
			config.AckPolicy != jetstream.AckExplicitPolicy || config.AckWait != 30*time.Second ||
			config.MaxAckPending != 1000 || config.MaxDeliver != -1 {
			t.Errorf("consumer %q of %q: got %+v", test.name, test.stream, config)
		}
	}
	if consumerInfo(t, s, messages.DeadLettersStream, "acme_board") != nil {
		t.Error("a subscriber without dead letters: got a consumer of them, want none")
	}
}

// A changed setting must not send everything again, and where to begin counts once.
func TestSubscriberKeepsItsPlace(t *testing.T) {
	s := newStore(t)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("b", 1), 0)
	syncSubscribers(t, s, time.Now(), subscribed(account, accounts.Subscriber{Name: "crm", From: accounts.FromAll}))
	consumer, err := s.JetStream().Consumer(roomlinktest.Context(t), messages.LinksStream, "acme_crm")
	if err != nil {
		t.Fatalf("opening the consumer: %v", err)
	}
	msg, err := consumer.Next(jetstream.FetchContext(roomlinktest.Context(t)))
	if err == nil {
		err = msg.DoubleAck(roomlinktest.Context(t))
	}
	if err != nil {
		t.Fatalf("reading the first links: %v", err)
	}
	// An administrator changed it meanwhile.
	changed := consumer.CachedInfo().Config
	changed.MaxAckPending = 7
	if _, err := s.JetStream().UpdateConsumer(roomlinktest.Context(t), messages.LinksStream, changed); err != nil {
		t.Fatalf("changing the consumer: %v", err)
	}
	for range 2 {
		syncSubscribers(t, s, time.Now(), subscribed(account, accounts.Subscriber{Name: "crm"}))
	}
	got := consumerInfo(t, s, messages.LinksStream, "acme_crm")
	if got.NumPending != 1 || got.Config.MaxAckPending != 1000 {
		t.Errorf("consumer: got %d waiting and at most %d unacknowledged, want 1 and 1000", got.NumPending, got.Config.MaxAckPending)
	}
}

// A subscriber that is gone keeps its place for a day, through restarts of every process.
func TestRemovedSubscriber(t *testing.T) {
	s := newStore(t)
	crm, board := accounts.Subscriber{Name: "crm", DeadLetters: true}, accounts.Subscriber{Name: "board"}
	other := subscribed("other", accounts.Subscriber{Name: "crm"})
	noon := roomlinktest.Noon.Time
	syncSubscribers(t, s, noon, subscribed(account, crm, board), other)
	exists := func(when string, want bool, stream, name string) {
		t.Helper()
		if got := consumerInfo(t, s, stream, name) != nil; got != want {
			t.Errorf("%s: consumer %q of %q: got %t, want %t", when, name, stream, got, want)
		}
	}
	// crm may no longer read dead letters, board is gone, and so is an account.
	crm.DeadLetters = false
	for _, at := range []time.Duration{0, time.Hour, 24*time.Hour - time.Second} {
		syncSubscribers(t, s, noon.Add(at), subscribed(account, crm))
		exists("within a day", true, messages.LinksStream, "acme_board")
		exists("within a day", true, messages.LinksStream, "other_crm")
		exists("within a day", true, messages.DeadLettersStream, "acme_crm")
	}
	// The account comes back in time, and its subscriber goes again: its day begins anew.
	syncSubscribers(t, s, noon.Add(24*time.Hour-time.Second), subscribed(account, crm), other)
	syncSubscribers(t, s, noon.Add(24*time.Hour), subscribed(account, crm))
	exists("after a day", false, messages.LinksStream, "acme_board")
	exists("after a day", false, messages.DeadLettersStream, "acme_crm")
	exists("after a day", true, messages.LinksStream, "acme_crm")
	exists("after a day", true, messages.LinksStream, "other_crm")
	syncSubscribers(t, s, noon.Add(48*time.Hour), subscribed(account, crm))
	exists("after two days", false, messages.LinksStream, "other_crm")
}

// Only what roomlink made is roomlink's to change or to delete.
func TestSyncLeavesForeignConsumersAlone(t *testing.T) {
	s := newStore(t)
	ctx := roomlinktest.Context(t)
	for _, name := range []string{"acme_crm", "acme_gone", "own", "a_b_c"} {
		config := jetstream.ConsumerConfig{Durable: name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute}
		if _, err := s.JetStream().CreateConsumer(ctx, messages.LinksStream, config); err != nil {
			t.Fatalf("creating consumer %q: %v", name, err)
		}
	}
	for _, at := range []time.Duration{0, 25 * time.Hour} {
		syncSubscribers(t, s, time.Now().Add(at), subscribed(account, accounts.Subscriber{Name: "crm"}))
	}
	for _, name := range []string{"acme_crm", "acme_gone", "own", "a_b_c"} {
		if got := consumerInfo(t, s, messages.LinksStream, name); got == nil || got.Config.AckWait != time.Minute {
			t.Errorf("consumer %q: got %v, want it unchanged", name, got)
		}
	}
	if err := s.RemoveSubscriber(ctx, account, "gone"); !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("removing: got error %v, want %v", err, messages.ErrNotFound)
	}
}

func TestManyProcessesSyncSubscribers(t *testing.T) {
	const processes = 8
	s := newStore(t)
	var group sync.WaitGroup
	errs := make([]error, processes)
	for i := range processes {
		group.Go(func() {
			subscribers := []accounts.Subscriber{{Name: "crm", DeadLetters: true}, {Name: "only-" + strconv.Itoa(i)}}
			if i%2 == 0 {
				subscribers[0].From = accounts.FromAll // they may be at different versions of the file
			}
			for range 5 {
				errs[i] = errors.Join(errs[i], store.SyncSubscribers(roomlinktest.Context(t), s.JetStream(),
					[]accounts.Account{subscribed(account, subscribers...)}, time.Now()))
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Errorf("syncing: got error %v, want none", err)
	}
	positions, err := s.Subscribers(roomlinktest.Context(t))
	if err != nil || len(positions) != processes+2 {
		t.Errorf("subscribers: got %d and error %v, want %d", len(positions), err, processes+2)
	}
}

func TestSyncSubscribersReturnsErrors(t *testing.T) {
	js := bareBroker(t)
	err := store.SyncSubscribers(roomlinktest.Context(t), js, nil, time.Now())
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("without streams: got error %v, want %v", err, jetstream.ErrStreamNotFound)
	}
}

func TestSubscriberPositions(t *testing.T) {
	s := newStore(t)
	noon := roomlinktest.Noon.Time
	gone := subscribed("other", accounts.Subscriber{Name: "gone"})
	here := subscribed(account, accounts.Subscriber{Name: "crm", DeadLetters: true}, accounts.Subscriber{Name: "board"})
	syncSubscribers(t, s, noon, here, gone)
	syncSubscribers(t, s, noon, here)
	for i := range 3 {
		roomlinktest.PublishLinks(t, s, roomlinktest.Links(strconv.Itoa(i), 1), 0)
	}
	roomlinktest.PublishDeadLetter(t, s, roomlinktest.DeadLetter(t, "d"))
	consumer, err := s.JetStream().Consumer(roomlinktest.Context(t), messages.LinksStream, "acme_crm")
	if err != nil {
		t.Fatalf("opening the consumer: %v", err)
	}
	before := time.Now().Add(-time.Second)
	if _, err := consumer.Next(jetstream.FetchContext(roomlinktest.Context(t))); err != nil {
		t.Fatalf("reading links: %v", err)
	}
	positions, err := s.Subscribers(roomlinktest.Context(t))
	if err != nil || len(positions) != 4 {
		t.Fatalf("positions: got %+v and error %v, want 4", positions, err)
	}
	if seen := positions[1].LastSeen; !seen.After(before) {
		t.Errorf("last seen: got %v, want it after %v", seen, before)
	}
	positions[1].LastSeen = time.Time{}
	for i, want := range []store.SubscriberPosition{
		{Account: account, Name: "board", Stream: messages.LinksStream, Waiting: 3},
		{Account: account, Name: "crm", Stream: messages.LinksStream, Waiting: 2, Unacknowledged: 1},
		{Account: account, Name: "crm", Stream: messages.DeadLettersStream, Waiting: 1},
		{Account: "other", Name: "gone", Stream: messages.LinksStream, RemovedAt: noon},
	} {
		if positions[i] != want {
			t.Errorf("position %d: got %+v, want %+v", i, positions[i], want)
		}
	}
	for _, want := range []error{nil, messages.ErrNotFound} {
		if err := s.RemoveSubscriber(roomlinktest.Context(t), account, "crm"); !errors.Is(err, want) {
			t.Errorf("removing: got error %v, want %v", err, want)
		}
	}
	if positions, err = s.Subscribers(roomlinktest.Context(t)); err != nil || len(positions) != 2 {
		t.Errorf("positions after removing: got %+v and error %v, want 2", positions, err)
	}
}
