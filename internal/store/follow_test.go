package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// startFeed runs a feed until the test ends.
func startFeed(t *testing.T, feed *store.Feed) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- feed.Run(ctx, func(err error) { t.Errorf("feed: got error %v, want none", err) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("end of the feed: got error %v, want none", err)
		}
	})
}

// bystand has somebody follow a conversation that never begins, until the test
// ends.
func bystand(t *testing.T, feed *store.Feed) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- feed.Follow(ctx, roomlinktest.Conversation("bystander"), 0, func(store.State) bool { return false })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("following until the end: got error %v, want %v", err, context.Canceled)
		}
	})
}

// liveFeed runs a feed, and returns once it has its consumers, which it keeps. What
// is made after that comes on the channels.
func liveFeed(t *testing.T, client *store.Store) (feed *store.Feed, links, letters <-chan string) {
	t.Helper()
	links = roomlinktest.ConsumersCreated(t, client.JetStream().Conn(), messages.LinksStream)
	letters = roomlinktest.ConsumersCreated(t, client.JetStream().Conn(), messages.DeadLettersStream)
	feed = store.NewFeed(client)
	startFeed(t, feed)
	bystand(t, feed)
	roomlinktest.Receive(t, links, "the consumer of links")
	roomlinktest.Receive(t, letters, "the consumer of dead letters")
	return feed, links, letters
}

// follow follows a conversation until it is in a wanted status, and returns the
// states that it was told, and the channel on which the end comes.
func follow(
	t *testing.T, feed *store.Feed, id string, refresh time.Duration, until store.Status,
) (<-chan store.State, <-chan error) {
	t.Helper()
	states, done := make(chan store.State, 1024), make(chan error, 1)
	ctx := roomlinktest.Context(t)
	go func() {
		done <- feed.Follow(ctx, roomlinktest.Conversation(id), refresh, func(state store.State) bool {
			states <- state
			return state.Status == until
		})
	}()
	return states, done
}

// wantEnd waits for the end of a follow, and returns the state it ended with.
func wantEnd(t *testing.T, states <-chan store.State, done <-chan error, want store.Status) store.State {
	t.Helper()
	if err := roomlinktest.Receive(t, done, "the end"); err != nil {
		t.Fatalf("following: got error %v, want none", err)
	}
	var last store.State
	for len(states) > 0 {
		last = <-states
	}
	wantState(t, last, want)
	return last
}

func TestFollowKnownLinks(t *testing.T) {
	client := newClient(t)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 1), 0)
	states, done := follow(t, store.NewFeed(client), "a", 0, store.StatusReady)
	wantEnd(t, states, done, store.StatusReady)
}

func TestFollowIsToldOfLinks(t *testing.T) {
	client := newClient(t)
	feed, _, _ := liveFeed(t, client)
	roomlinktest.Publish(t, client, roomlinktest.Started("a"))
	states, done := follow(t, feed, "a", 0, store.StatusReady)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusPending)
	e := roomlinktest.Links("a", 1)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("another", 1), 0)
	roomlinktest.PublishLinks(t, client, e, 0)
	if last := wantEnd(t, states, done, store.StatusReady); last.Links == nil || last.Links.ID != e.ID {
		t.Errorf("links: got %+v, want those of id %q", last.Links, e.ID)
	}
}

func TestFollowIsToldOfADeadLetter(t *testing.T) {
	client := newClient(t)
	feed, _, _ := liveFeed(t, client)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 1), 0)
	roomlinktest.Publish(t, client, roomlinktest.Started("a"))
	states, done := follow(t, feed, "a", 0, store.StatusFailed)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusReady)
	letter := mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "a"))
	last := wantEnd(t, states, done, store.StatusFailed)
	if last.DeadLetter == nil || last.DeadLetter.Sequence != letter.Sequence || last.Links == nil {
		t.Errorf("state: got dead letter %v and links %v, want %d and the older ones",
			last.DeadLetter, last.Links, letter.Sequence)
	}
}

// Between the dead letter and the acknowledgement of its event both are there,
// and nothing tells of the acknowledgement.
func TestFollowFromBetweenDeadLetterAndAcknowledgement(t *testing.T) {
	client := newClient(t)
	feed, _, _ := liveFeed(t, client)
	roomlinktest.Publish(t, client, roomlinktest.Started("a"))
	mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "a"))
	states, done := follow(t, feed, "a", 0, store.StatusFailed)
	wantEnd(t, states, done, store.StatusFailed)
}

func TestFollowIsToldOfARenewal(t *testing.T) {
	client := newClient(t)
	feed, _, _ := liveFeed(t, client)
	e := roomlinktest.ExpiredLinks("a")
	sequence := roomlinktest.PublishLinks(t, client, e, 0)
	states, done := follow(t, feed, "a", 0, store.StatusReady)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusExpired)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 2), sequence)
	if last := wantEnd(t, states, done, store.StatusReady); last.Links.Data.Generation != 2 {
		t.Errorf("generation: got %d, want 2", last.Links.Data.Generation)
	}
}

func TestManyFollowOneConversation(t *testing.T) {
	const followers = 50
	client := newClient(t)
	feed, _, _ := liveFeed(t, client)
	ctx := roomlinktest.Context(t)
	errs := make([]error, followers)
	var begun, group sync.WaitGroup
	begun.Add(followers)
	for i := range followers {
		group.Go(func() {
			var once sync.Once
			errs[i] = feed.Follow(ctx, roomlinktest.Conversation("a"), 0, func(state store.State) bool {
				once.Do(begun.Done)
				return state.Status == store.StatusReady
			})
		})
	}
	begun.Wait()
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 1), 0)
	group.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("follower %d: got error %v, want none", i, err)
		}
	}
}

// What is stored before the feed runs is read when it begins.
func TestFollowBeforeTheFeedRuns(t *testing.T) {
	client := newClient(t)
	feed := store.NewFeed(client)
	states, done := follow(t, feed, "a", 0, store.StatusReady)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusUnknown)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 1), 0)
	startFeed(t, feed)
	wantEnd(t, states, done, store.StatusReady)
}

func TestFollowSurvivesTheFeedsConsumers(t *testing.T) {
	client := newClient(t)
	feed, linksConsumers, letterConsumers := liveFeed(t, client)
	links, linksDone := follow(t, feed, "a", 0, store.StatusReady)
	letters, lettersDone := follow(t, feed, "b", 0, store.StatusFailed)
	roomlinktest.Receive(t, links, "the first state")
	roomlinktest.Receive(t, letters, "the first state")

	roomlinktest.DeleteConsumers(t, client.JetStream(), messages.LinksStream)
	roomlinktest.DeleteConsumers(t, client.JetStream(), messages.DeadLettersStream)
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("a", 1), 0)
	mustPublishDeadLetter(t, client, roomlinktest.DeadLetter(t, "b"))
	wantEnd(t, links, linksDone, store.StatusReady)
	wantEnd(t, letters, lettersDone, store.StatusFailed)

	roomlinktest.Receive(t, linksConsumers, "another consumer of links")
	roomlinktest.Receive(t, letterConsumers, "another consumer of dead letters")
	states, done := follow(t, feed, "c", 0, store.StatusReady)
	roomlinktest.Receive(t, states, "the first state")
	roomlinktest.PublishLinks(t, client, roomlinktest.Links("c", 1), 0)
	wantEnd(t, states, done, store.StatusReady)
}

// Nothing tells of an event or of the end of a ticket; reading again does.
func TestFollowReadsAgain(t *testing.T) {
	client := newClient(t)
	feed := store.NewFeed(client)
	states, done := follow(t, feed, "a", 10*time.Millisecond, store.StatusPending)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusUnknown)
	roomlinktest.Publish(t, client, roomlinktest.Started("a"))
	wantEnd(t, states, done, store.StatusPending)

	e := roomlinktest.Links("b", 1)
	e.Data.ExpiresAt = messages.At(time.Now().Add(300 * time.Millisecond))
	roomlinktest.PublishLinks(t, client, e, 0)
	states, done = follow(t, feed, "b", 10*time.Millisecond, store.StatusExpired)
	wantEnd(t, states, done, store.StatusExpired)
}

func TestFollowEndsWithItsContext(t *testing.T) {
	client := newClient(t)
	feed := store.NewFeed(client)
	ctx, cancel := context.WithCancel(roomlinktest.Context(t))
	err := feed.Follow(ctx, roomlinktest.Conversation("a"), 0, func(store.State) bool {
		cancel()
		return false
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelling: got error %v, want %v", err, context.Canceled)
	}
	err = feed.Follow(roomlinktest.Context(t), roomlinktest.Conversation("{{x}}"), 0, nil)
	if !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("impossible name: got error %v, want %v", err, messages.ErrInvalid)
	}
}

// A feed has its consumers while somebody follows, and none before and after.
func TestFeedReadsOnlyForFollowers(t *testing.T) {
	client := newClient(t)
	feed := store.NewFeed(client)
	feed.LookAgainEvery(10 * time.Millisecond)
	startFeed(t, feed)
	for range 3 {
		awaitConsumers(t, client, 0)
		ctx, leave := context.WithCancel(roomlinktest.Context(t))
		left := make(chan error, 1)
		go func() {
			left <- feed.Follow(ctx, roomlinktest.Conversation("a"), 0, func(store.State) bool { return false })
		}()
		awaitConsumers(t, client, 1)
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("following: got error %v, want %v", err, context.Canceled)
		}
	}
	awaitConsumers(t, client, 0)
}

// awaitConsumers waits until each stream that a feed reads has so many consumers.
func awaitConsumers(t *testing.T, client *store.Store, want int) {
	t.Helper()
	ctx, ticker := roomlinktest.Context(t), time.NewTicker(10*time.Millisecond)
	defer ticker.Stop()
	for _, name := range []string{messages.LinksStream, messages.DeadLettersStream} {
		for got := -1; got != want; {
			stream, err := client.JetStream().Stream(ctx, name)
			if err != nil {
				t.Fatalf("consumers of %q: got %d and error %v, want %d", name, got, err, want)
			}
			if got = stream.CachedInfo().State.Consumers; got != want {
				<-ticker.C
			}
		}
	}
}
