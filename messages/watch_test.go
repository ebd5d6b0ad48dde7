package messages_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// watch watches the links of [roomlinktest.Account] as board until the test ends. The
// first channel gets the links, the second a value whenever the watch catches up.
func watch(t *testing.T, address string) (<-chan messages.Stored[messages.Links], <-chan struct{}) {
	t.Helper()
	board, _ := subscribe(t, address, "board")
	watched, caughtUp := make(chan messages.Stored[messages.Links], 64), make(chan struct{}, 64)
	options := messages.WatchOptions{CatchUp: func(context.Context) error {
		caughtUp <- struct{}{}
		return nil
	}}
	run(t, "the watch", func(ctx context.Context) error {
		return board.Watch(ctx, roomlinktest.Account, options, func(links messages.Stored[messages.Links]) error {
			watched <- links
			return nil
		})
	})
	roomlinktest.Receive(t, caughtUp, "the beginning of the watch")
	return watched, caughtUp
}

func TestWatch(t *testing.T) {
	s := newSite(t)
	sequence := roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("a", 1), 0)
	watched, _ := watch(t, s.address)
	theirs := roomlinktest.Links("a", 1)
	theirs.Data.Account = other
	roomlinktest.PublishLinks(t, s.store, theirs, 0)
	roomlinktest.PublishUnreadable(t, s.store, roomlinktest.Conversation("x").LinksSubject())
	roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("b", 1), 0)
	sequence = roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("a", 2), sequence)
	roomlinktest.PublishLinks(t, s.store, roomlinktest.RevokedLinks("a", 2), sequence)
	roomlinktest.WantLinks(t, watched, "b", 1)
	roomlinktest.WantLinks(t, watched, "a", 2)
	if links := roomlinktest.Receive(t, watched, "revoked links"); !links.Data.Revoked() {
		t.Errorf("links: got %+v, want revoked ones", links.Data)
	}
}

// A watch says when it may have missed links, and goes on.
func TestWatchSurvivesAReconnect(t *testing.T) {
	s := newSite(t)
	network := roomlinktest.NewNetwork(t, s.address)
	watched, caughtUp := watch(t, network.Address())
	network.Cut()
	roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("missed", 1), 0)
	network.Open()
	roomlinktest.Receive(t, caughtUp, "the call to catch up")
	roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("a", 1), 0)
	roomlinktest.WantLinks(t, watched, "a", 1)
}

// A slow function costs no memory, and is told that it missed links.
func TestWatchWithASlowFunction(t *testing.T) {
	const flood = 3000
	s := newSite(t)
	board, _ := s.subscriber(t, "board")
	released, slow := make(chan struct{}), make(chan struct{}, flood)
	received, caughtUp := 0, make(chan int, flood)
	run(t, "the watch", func(ctx context.Context) error {
		return board.Watch(ctx, roomlinktest.Account, messages.WatchOptions{CatchUp: func(context.Context) error {
			caughtUp <- received
			return nil
		}}, func(messages.Stored[messages.Links]) error {
			received++
			slow <- struct{}{}
			<-released
			return nil
		})
	})
	roomlinktest.Receive(t, caughtUp, "the beginning of the watch")
	data := roomlinktest.Encode(t, roomlinktest.Links("a", 1))
	for i := range flood {
		header := nats.Header{
			"Nats-Stream": {"ROOMLINK_LINKS"}, "Nats-Subject": {"roomlink.links.acme.a"},
			"Nats-Sequence": {strconv.Itoa(i + 1)}, "Nats-Time-Stamp": {"2026-03-14T12:00:00Z"},
		}
		err := s.store.JetStream().Conn().PublishMsg(&nats.Msg{Subject: "roomlink.live.acme.a", Header: header, Data: data})
		if err != nil {
			t.Fatalf("publishing: %v", err)
		}
	}
	roomlinktest.Receive(t, slow, "the first links")
	// The subscriber's connection has read everything once it answers.
	if _, err := board.Links(roomlinktest.Context(t), roomlinktest.Conversation("b")); !errors.Is(err, messages.ErrNotFound) {
		t.Fatalf("reading: got error %v, want %v", err, messages.ErrNotFound)
	}
	close(released)
	if got := roomlinktest.Receive(t, caughtUp, "the call to catch up"); got == 0 || got >= flood {
		t.Errorf("links before catching up: got %d, want more than none and less than %d", got, flood)
	}
}

func TestWatchReturnsErrors(t *testing.T) {
	s := newSite(t)
	board, _ := s.subscriber(t, "board")
	ctx, enough := roomlinktest.Context(t), errors.New("enough")
	stored := func(ctx context.Context) error {
		_, err := s.store.PublishLinks(ctx, roomlinktest.Links("a", 1), 0)
		return err
	}
	err := board.Watch(ctx, roomlinktest.Account, messages.WatchOptions{CatchUp: stored},
		func(messages.Stored[messages.Links]) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("stopping: got error %v, want %v", err, enough)
	}
	err = board.Watch(ctx, roomlinktest.Account, messages.WatchOptions{CatchUp: func(context.Context) error { return enough }}, nil)
	if !errors.Is(err, enough) {
		t.Errorf("stopping while catching up: got error %v, want %v", err, enough)
	}
	if err := board.Watch(ctx, "A B", messages.WatchOptions{}, nil); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("impossible account: got error %v, want %v", err, messages.ErrInvalid)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := board.Watch(cancelled, roomlinktest.Account, messages.WatchOptions{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v, want %v", err, context.Canceled)
	}
	js := dial(t, s.address, "board")
	closed := messages.NewSubscriber(js)
	err = closed.Watch(ctx, roomlinktest.Account, messages.WatchOptions{CatchUp: func(context.Context) error {
		js.Conn().Close()
		return nil
	}}, nil)
	if !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("closed connection: got error %v, want %v", err, nats.ErrConnectionClosed)
	}
	if _, err := closed.Wait(ctx, roomlinktest.Conversation("none")); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("waiting on a closed connection: got error %v, want %v", err, nats.ErrConnectionClosed)
	}
}

// waitFor waits for a conversation, and returns when the wait has read the state once.
func waitFor(t *testing.T, s site, subscriber *messages.Subscriber, id string) <-chan error {
	t.Helper()
	reads := make(chan *nats.Msg, 8)
	nc := s.store.JetStream().Conn()
	subscription, err := nc.ChanSubscribe("$JS.API.DIRECT.GET.ROOMLINK_LINKS."+roomlinktest.Conversation(id).LinksSubject(), reads)
	if err == nil {
		err = nc.FlushWithContext(roomlinktest.Context(t))
	}
	if err != nil {
		t.Fatalf("listening for reads: %v", err)
	}
	defer func() { _ = subscription.Unsubscribe() }()
	done, ctx := make(chan error, 1), roomlinktest.Context(t)
	go func() {
		links, err := subscriber.Wait(ctx, roomlinktest.Conversation(id))
		if err == nil && (links.Data.InteractionID != id || links.Sequence == 0) {
			err = errors.New("other links")
		}
		done <- err
	}()
	roomlinktest.Receive(t, reads, "the first read of "+id)
	return done
}

func TestWait(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"crm", "board"} { // with and without dead letters
		subscriber, unexpected := s.subscriber(t, name)
		early, late := name+"-early", name+"-late"
		roomlinktest.PublishLinks(t, s.store, roomlinktest.Links(early, 1), 0)
		links, err := subscriber.Wait(roomlinktest.Context(t), roomlinktest.Conversation(early))
		if err != nil || links.Data.InteractionID != early {
			t.Errorf("%s: stored links: got %q and error %v, want %q", name, links.Data.InteractionID, err, early)
		}
		for range 2 {
			late += "r"
			done := waitFor(t, s, subscriber, late)
			roomlinktest.PublishLinks(t, s.store, roomlinktest.Links(late, 1), 0)
			if err := roomlinktest.Receive(t, done, "the links"); err != nil {
				t.Errorf("%s: waiting: got error %v, want none", name, err)
			}
		}
		if len(unexpected) > 0 {
			t.Errorf("%s: error handler: got %v, want nothing", name, <-unexpected)
		}
	}
}

func TestWaitForADeadLetter(t *testing.T) {
	s := newSite(t)
	crm, _ := s.subscriber(t, "crm")
	done := waitFor(t, s, crm, "a")
	roomlinktest.PublishDeadLetter(t, s.store, roomlinktest.DeadLetter(t, "a"))
	late := roomlinktest.Receive(t, done, "the failure")
	_, early := crm.Wait(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	for _, err := range []error{late, early} {
		failed, ok := errors.AsType[*messages.FailedError](err)
		if !ok || failed.DeadLetter.Data.Reason != messages.ReasonRejected || failed.DeadLetter.Sequence == 0 {
			t.Errorf("waiting: got error %v, want a dead letter", err)
		}
	}
	// Old links of a conversation whose renewal failed are still its links.
	roomlinktest.PublishLinks(t, s.store, roomlinktest.ExpiredLinks("b"), 0)
	roomlinktest.PublishDeadLetter(t, s.store, roomlinktest.DeadLetter(t, "b"))
	if _, err := crm.Wait(roomlinktest.Context(t), roomlinktest.Conversation("b")); err != nil {
		t.Errorf("waiting with old links: got error %v, want none", err)
	}
}

func TestWaitSurvivesAReconnect(t *testing.T) {
	s := newSite(t)
	network := roomlinktest.NewNetwork(t, s.address)
	board, _ := subscribe(t, network.Address(), "board")
	done := waitFor(t, s, board, "a")
	network.Cut()
	roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("a", 1), 0)
	network.Open()
	if err := roomlinktest.Receive(t, done, "the links"); err != nil {
		t.Errorf("waiting: got error %v, want none", err)
	}
}

func TestWaitReturnsErrors(t *testing.T) {
	s := newSite(t)
	board, _ := s.subscriber(t, "board")
	if _, err := board.Wait(t.Context(), roomlinktest.Conversation("")); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("impossible conversation: got error %v, want %v", err, messages.ErrInvalid)
	}
	ctx, cancel := context.WithCancel(roomlinktest.Context(t))
	cancel()
	if _, err := board.Wait(ctx, roomlinktest.Conversation("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v, want %v", err, context.Canceled)
	}
}
