package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

func TestWatchFromTheStart(t *testing.T) {
	s := newStore(t)
	first := roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("b", 1), 0)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 2), first)
	watched := roomlinktest.Watch(t, s, false)
	roomlinktest.WantLinks(t, watched, "b", 1)
	roomlinktest.WantLinks(t, watched, "a", 2)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("c", 1), 0)
	roomlinktest.WantLinks(t, watched, "c", 1)
}

func TestWatchFromNow(t *testing.T) {
	s := newStore(t)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("before", 1), 0)
	created := roomlinktest.ConsumersCreated(t, s.JetStream().Conn(), messages.LinksStream)
	watched := roomlinktest.Watch(t, s, true)
	roomlinktest.Receive(t, created, "the watch's consumer")
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("after", 1), 0)
	roomlinktest.WantLinks(t, watched, "after", 1)
}

func TestWatchSkipsOtherAccountsAndUnreadableLinks(t *testing.T) {
	s := newStore(t)
	other := roomlinktest.Links("a", 1)
	other.Data.Account = "other"
	roomlinktest.PublishLinks(t, s, other, 0)
	roomlinktest.PublishUnreadable(t, s, roomlinktest.Conversation("x").LinksSubject())
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("b", 1), 0)
	roomlinktest.WantLinks(t, roomlinktest.Watch(t, s, false), "b", 1)
}

// The broker may delete the consumer of a watch. The watch must not miss the links that
// are stored before it has a new consumer.
func TestWatchSurvivesTheLossOfItsConsumer(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it waits for missed heartbeats")
	for _, fromNow := range []bool{false, true} {
		t.Run(fmt.Sprintf("from now %t", fromNow), func(t *testing.T) {
			s := newStore(t)
			created := roomlinktest.ConsumersCreated(t, s.JetStream().Conn(), messages.LinksStream)
			watched := roomlinktest.Watch(t, s, fromNow)
			for generation := 1; generation <= 3; generation++ {
				roomlinktest.Receive(t, created, "the watch's consumer")
				roomlinktest.DeleteConsumers(t, s.JetStream(), messages.LinksStream)
				id := fmt.Sprintf("a-%d", generation)
				roomlinktest.PublishLinks(t, s, roomlinktest.Links(id, 1), 0)
				roomlinktest.WantLinks(t, watched, id, 1)
			}
		})
	}
}

func TestWatchReturnsErrors(t *testing.T) {
	s := newStore(t)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	ctx := roomlinktest.Context(t)
	enough := errors.New("enough")
	err := s.WatchLinks(ctx, roomlinktest.Account, false,
		func(messages.Stored[messages.Links]) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("stopping: got error %v, want %v", err, enough)
	}
	if err := s.WatchLinks(ctx, "A B", false, nil); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("impossible account: got error %v, want %v", err, messages.ErrInvalid)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	err = s.WatchLinks(ctx, roomlinktest.Account, false, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v, want %v", err, context.Canceled)
	}
}
