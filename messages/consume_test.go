package messages_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// consume consumes as crm until the test ends. fn decides what each links' error is; nil
// for none.
func consume(
	t *testing.T, address string, fn func(messages.Stored[messages.Links]) error,
) <-chan messages.Stored[messages.Links] {
	t.Helper()
	crm, _ := subscribe(t, address, "crm")
	received := make(chan messages.Stored[messages.Links], 4096)
	run(t, "consuming", func(ctx context.Context) error {
		return crm.Consume(ctx, roomlinktest.Account, "crm", func(links messages.Stored[messages.Links]) error {
			received <- links
			if fn == nil {
				return nil
			}
			return fn(links)
		})
	})
	return received
}

// A subscriber receives what is stored already, and goes on where it stopped.
func TestConsume(t *testing.T) {
	s := newSite(t)
	crm, _ := s.subscriber(t, "crm")
	first := roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("a", 1), 0)
	roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("b", 1), 0)
	roomlinktest.PublishUnreadable(t, s.store, roomlinktest.Conversation("x").LinksSubject())
	var got []string
	for i := range 3 { // three times the same program
		ctx, stop := context.WithCancel(roomlinktest.Context(t))
		err := crm.Consume(ctx, roomlinktest.Account, "crm", func(links messages.Stored[messages.Links]) error {
			got = append(got, links.Data.InteractionID+strconv.Itoa(links.Data.Generation))
			stop()
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("consuming: got error %v, want %v", err, context.Canceled)
		}
		s.awaitPulls(t, 0)
		if i == 1 {
			roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("a", 2), first)
		}
	}
	if want := []string{"a1", "b1", "a2"}; !slices.Equal(got, want) {
		t.Errorf("received: got %q, want %q", got, want)
	}
}

// What the program refused comes again. What was replaced meanwhile does not.
func TestConsumeAgain(t *testing.T) {
	s := newSite(t)
	refusedA, refusedB := false, false
	received := consume(t, s.address, func(links messages.Stored[messages.Links]) error {
		switch {
		case links.Data.InteractionID == "a" && !refusedA:
			refusedA = true
			return errors.New("the program has trouble")
		case links.Data.InteractionID == "b" && !refusedB:
			refusedB = true
			roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("b", 2), links.Sequence)
			return errors.New("the program has trouble")
		}
		return nil
	})
	roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("a", 1), 0)
	roomlinktest.WantLinks(t, received, "a", 1)
	roomlinktest.WantLinks(t, received, "a", 1)
	roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("b", 1), 0)
	roomlinktest.WantLinks(t, received, "b", 1)
	roomlinktest.WantLinks(t, received, "b", 2)
	for s.crm(t).NumAckPending > 0 {
		if len(received) > 0 {
			t.Fatalf("received: got %q again, want nothing", (<-received).Data.InteractionID)
		}
	}
}

// crm returns the position of crm.
func (s site) crm(t *testing.T) *jetstream.ConsumerInfo {
	t.Helper()
	consumer, err := s.store.JetStream().Consumer(roomlinktest.Context(t), messages.LinksStream, "acme_crm")
	if err != nil {
		t.Fatalf("opening the consumer: %v", err)
	}
	return consumer.CachedInfo()
}

// awaitPulls waits until the broker has a number of pulls from crm.
func (s site) awaitPulls(t *testing.T, want int) {
	t.Helper()
	ctx := roomlinktest.Context(t)
	for got := s.crm(t).NumWaiting; got != want; got = s.crm(t).NumWaiting {
		if ctx.Err() != nil {
			t.Fatalf("pulls: got %d, want %d", got, want)
		}
	}
}

// A redelivered message that is no longer the last one is settled without the program.
func TestConsumeSkipsReplacedLinks(t *testing.T) {
	s := newSite(t)
	sequence := roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("a", 1), 0)
	ctx := roomlinktest.Context(t)
	consumer, err := s.store.JetStream().Consumer(ctx, messages.LinksStream, "acme_crm")
	if err != nil {
		t.Fatalf("opening the consumer: %v", err)
	}
	msg, err := consumer.Next(jetstream.FetchContext(ctx))
	if err == nil {
		err = msg.Nak() // another process gave it back
	}
	if err != nil {
		t.Fatalf("reading links: %v", err)
	}
	roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("a", 2), sequence)
	roomlinktest.WantLinks(t, consume(t, s.address, nil), "a", 2)
}

func TestConsumeMany(t *testing.T) {
	const count = 500
	s := newSite(t)
	received := consume(t, s.address, nil)
	for i := range count {
		roomlinktest.PublishLinks(t, s.store, roomlinktest.Links(strconv.Itoa(i), 1), 0)
	}
	for i := range count {
		roomlinktest.WantLinks(t, received, strconv.Itoa(i), 1)
	}
}

func TestConsumeSurvivesAReconnect(t *testing.T) {
	s := newSite(t)
	network := roomlinktest.NewNetwork(t, s.address)
	received := consume(t, network.Address(), nil)
	for _, id := range []string{"a", "b", "c"} {
		roomlinktest.PublishLinks(t, s.store, roomlinktest.Links(id+"-before", 1), 0)
		roomlinktest.WantLinks(t, received, id+"-before", 1)
		network.Cut()
		s.awaitPulls(t, 0) // what is on its way to a lost connection comes again only later
		roomlinktest.PublishLinks(t, s.store, roomlinktest.Links(id, 1), 0)
		network.Open()
		for roomlinktest.Receive(t, received, "links of "+id).Data.InteractionID != id {
			continue // the acknowledgement of the former ones may be lost
		}
	}
}

func TestConsumeDeadLetters(t *testing.T) {
	s := newSite(t)
	roomlinktest.PublishDeadLetter(t, s.store, roomlinktest.DeadLetter(t, "a"))
	crm, _ := s.subscriber(t, "crm")
	received := make(chan messages.Stored[messages.DeadLetter], 8)
	run(t, "consuming", func(ctx context.Context) error {
		return crm.ConsumeDeadLetters(ctx, roomlinktest.Account, "crm", func(letter messages.Stored[messages.DeadLetter]) error {
			received <- letter
			return nil
		})
	})
	if letter := roomlinktest.Receive(t, received, "a dead letter"); letter.Data.InteractionID != "a" {
		t.Errorf("dead letter: got %q, want %q", letter.Data.InteractionID, "a")
	}
}

func TestConsumeReturnsErrors(t *testing.T) {
	s := newSite(t)
	ctx := roomlinktest.Context(t)
	crm, _ := s.subscriber(t, "crm")
	none := func(messages.Stored[messages.Links]) error { return nil }
	for _, names := range [][2]string{{"A B", "crm"}, {"acme", "c.*"}, {"", ""}} {
		if err := crm.Consume(ctx, names[0], names[1], none); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("consuming %q: got error %v, want %v", names, err, messages.ErrInvalid)
		}
	}
	parts := messages.NewSubscriber(s.store.JetStream())
	if err := parts.Consume(ctx, roomlinktest.Account, "nobody", none); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("unknown subscriber: got error %v, want %v", err, jetstream.ErrConsumerNotFound)
	}
	// The operator removes the subscriber while it reads.
	roomlinktest.PublishLinks(t, s.store, roomlinktest.Links("a", 1), 0)
	err := crm.Consume(ctx, roomlinktest.Account, "crm", func(messages.Stored[messages.Links]) error {
		return s.store.RemoveSubscriber(ctx, roomlinktest.Account, "crm")
	})
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("removed subscriber: got error %v, want %v", err, jetstream.ErrConsumerNotFound)
	}
}
