package store_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// startFeed runs a feed until the test ends.
func startFeed(t *testing.T, feed *store.Feed) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- feed.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("end of the feed: got error %v, want none", err)
		}
	})
}

// runningFeed runs a feed, and returns when it has its subscriptions.
func runningFeed(t *testing.T, s *store.Store) *store.Feed {
	t.Helper()
	feed := store.NewFeed(s)
	states, _ := follow(t, feed, "without messages", 0, store.StatusReady)
	roomlinktest.Receive(t, states, "the first state")
	startFeed(t, feed)
	roomlinktest.Receive(t, states, "the state when the feed has its subscriptions")
	return feed
}

// follow follows a conversation until it has a status. The channels get its states, and
// the result of [store.Feed.Follow].
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

// wantEnd waits for the end of [follow] and returns the last state.
func wantEnd(t *testing.T, states <-chan store.State, done <-chan error, want store.Status) store.State {
	t.Helper()
	if err := roomlinktest.Receive(t, done, "the end of following"); err != nil {
		t.Fatalf("following: got error %v, want none", err)
	}
	var last store.State
	for len(states) > 0 {
		last = <-states
	}
	wantState(t, last, want)
	return last
}

func TestFollowStoredLinks(t *testing.T) {
	s := newStore(t)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	states, done := follow(t, store.NewFeed(s), "a", 0, store.StatusReady)
	wantEnd(t, states, done, store.StatusReady)
}

func TestFollowReportsLinks(t *testing.T) {
	s := newStore(t)
	feed := runningFeed(t, s)
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	states, done := follow(t, feed, "a", 0, store.StatusReady)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusPending)
	e := roomlinktest.Links("a", 1)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("another", 1), 0)
	roomlinktest.PublishLinks(t, s, e, 0)
	if last := wantEnd(t, states, done, store.StatusReady); last.Links == nil || last.Links.ID != e.ID {
		t.Errorf("links: got %+v, want the links of event %q", last.Links, e.ID)
	}
}

func TestFollowReportsADeadLetter(t *testing.T) {
	s := newStore(t)
	feed := runningFeed(t, s)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	states, done := follow(t, feed, "a", 0, store.StatusFailed)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusReady)
	letter := publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	last := wantEnd(t, states, done, store.StatusFailed)
	if last.DeadLetter == nil || last.DeadLetter.Sequence != letter.Sequence || last.Links == nil {
		t.Errorf("state: got dead letter %v and links %v, want sequence %d and the older links",
			last.DeadLetter, last.Links, letter.Sequence)
	}
}

// A worker stores the dead letter before it acknowledges the event, and no message
// reports the acknowledgement.
func TestFollowBeforeTheAcknowledgement(t *testing.T) {
	s := newStore(t)
	feed := runningFeed(t, s)
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	publishDeadLetter(t, s, roomlinktest.DeadLetter(t, "a"))
	states, done := follow(t, feed, "a", 0, store.StatusFailed)
	wantEnd(t, states, done, store.StatusFailed)
}

func TestFollowReportsARenewal(t *testing.T) {
	s := newStore(t)
	feed := runningFeed(t, s)
	e := roomlinktest.ExpiredLinks("a")
	sequence := roomlinktest.PublishLinks(t, s, e, 0)
	states, done := follow(t, feed, "a", 0, store.StatusReady)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusExpired)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 2), sequence)
	if last := wantEnd(t, states, done, store.StatusReady); last.Links.Data.Generation != 2 {
		t.Errorf("generation: got %d, want 2", last.Links.Data.Generation)
	}
}

// A follower that saw the event wait sees its links revoked, and not the event waiting again.
func TestFollowReportsARevocation(t *testing.T) {
	s := newStore(t)
	feed := runningFeed(t, s)
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	states, _ := follow(t, feed, "a", 0, store.StatusRevoked)
	var seen []store.Status
	await := func(want store.Status) {
		for len(seen) == 0 || seen[len(seen)-1] != want {
			seen = append(seen, roomlinktest.Receive(t, states, "a state").Status)
		}
	}
	await(store.StatusPending)
	sequence := roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	await(store.StatusReady)
	roomlinktest.SettleNext(t, s)
	roomlinktest.PublishLinks(t, s, roomlinktest.RevokedLinks("a", 1), sequence)
	await(store.StatusRevoked)
	want := []store.Status{store.StatusPending, store.StatusReady, store.StatusRevoked}
	if got := slices.Compact(seen); !slices.Equal(got, want) {
		t.Errorf("statuses: got %q, want %q", got, want)
	}
}

// The only read finds the links before the acknowledgement, which no message reports.
func TestFollowReportsARevocationOfLinksThatItRead(t *testing.T) {
	s := newStore(t)
	feed := runningFeed(t, s)
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	sequence := roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	states, done := follow(t, feed, "a", 0, store.StatusRevoked)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusReady)
	roomlinktest.SettleNext(t, s)
	roomlinktest.PublishLinks(t, s, roomlinktest.RevokedLinks("a", 1), sequence)
	wantEnd(t, states, done, store.StatusRevoked)
}

func TestManyFollowOneConversation(t *testing.T) {
	const followers = 50
	s := newStore(t)
	feed := runningFeed(t, s)
	ctx := roomlinktest.Context(t)
	errs := make([]error, followers)
	var started, group sync.WaitGroup
	started.Add(followers)
	for i := range followers {
		group.Go(func() {
			var once sync.Once
			errs[i] = feed.Follow(ctx, roomlinktest.Conversation("a"), 0, func(state store.State) bool {
				once.Do(started.Done)
				return state.Status == store.StatusReady
			})
		})
	}
	started.Wait()
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	group.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("follower %d: got error %v, want none", i, err)
		}
	}
}

// Run makes every follower read what was stored before it watched.
func TestFollowBeforeTheFeedRuns(t *testing.T) {
	s := newStore(t)
	feed := store.NewFeed(s)
	states, done := follow(t, feed, "a", 0, store.StatusReady)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusUnknown)
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	startFeed(t, feed)
	wantEnd(t, states, done, store.StatusReady)
}

// What the broker stores while the connection is away reaches those who wait.
func TestFollowSurvivesAReconnect(t *testing.T) {
	address := roomlinktest.StartServer(t).Addr().String()
	stored := remoteStore(t, address)
	if err := store.Provision(roomlinktest.Context(t), stored.JetStream(), store.StreamSettings{}); err != nil {
		t.Fatalf("provisioning: %v", err)
	}
	network := roomlinktest.NewNetwork(t, address)
	feed := runningFeed(t, remoteStore(t, network.Address()))
	for _, id := range []string{"a", "b"} { // twice, because a subscription must survive, too
		links, linksDone := follow(t, feed, "links-"+id, 0, store.StatusReady)
		letters, lettersDone := follow(t, feed, "letter-"+id, 0, store.StatusFailed)
		roomlinktest.Receive(t, links, "the first state")
		roomlinktest.Receive(t, letters, "the first state")
		network.Cut()
		roomlinktest.PublishLinks(t, stored, roomlinktest.Links("links-"+id, 1), 0)
		publishDeadLetter(t, stored, roomlinktest.DeadLetter(t, "letter-"+id))
		network.Open()
		wantEnd(t, links, linksDone, store.StatusReady)
		wantEnd(t, letters, lettersDone, store.StatusFailed)
	}
	states, done := follow(t, feed, "c", 0, store.StatusReady)
	roomlinktest.Receive(t, states, "the first state")
	roomlinktest.PublishLinks(t, stored, roomlinktest.Links("c", 1), 0)
	wantEnd(t, states, done, store.StatusReady)
}

// A feed that falls behind drops messages. Those who wait read what it dropped.
func TestFollowSurvivesAFlood(t *testing.T) {
	s := newStore(t)
	feed := runningFeed(t, s)
	states, done := follow(t, feed, "a", 0, store.StatusReady)
	roomlinktest.Receive(t, states, "the first state")
	release := feed.Hold()
	flood := roomlinktest.Conversation("flood")
	for range store.MaxFeedMessages + 1 {
		err := s.JetStream().Conn().Publish(messages.LiveSubjects+flood.Account+"."+flood.InteractionID, nil)
		if err != nil {
			t.Fatalf("publishing: %v", err)
		}
	}
	roomlinktest.PublishLinks(t, s, roomlinktest.Links("a", 1), 0)
	release()
	wantEnd(t, states, done, store.StatusReady)
}

// remoteStore returns a store on a connection to an address.
func remoteStore(t *testing.T, address string) *store.Store {
	t.Helper()
	nc, err := nats.Connect("nats://"+address, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return store.New(js)
}

// Only a new read shows an event or the end of a ticket.
func TestFollowRefreshes(t *testing.T) {
	s := newStore(t)
	feed := store.NewFeed(s)
	states, done := follow(t, feed, "a", 10*time.Millisecond, store.StatusPending)
	wantState(t, roomlinktest.Receive(t, states, "the first state"), store.StatusUnknown)
	roomlinktest.Publish(t, s, roomlinktest.Started("a"))
	wantEnd(t, states, done, store.StatusPending)

	e := roomlinktest.Links("b", 1)
	e.Data.ExpiresAt = messages.At(time.Now().Add(300 * time.Millisecond))
	roomlinktest.PublishLinks(t, s, e, 0)
	states, done = follow(t, feed, "b", 10*time.Millisecond, store.StatusExpired)
	wantEnd(t, states, done, store.StatusExpired)
}

func TestFollowReturnsErrors(t *testing.T) {
	s := newStore(t)
	feed := store.NewFeed(s)
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
		t.Errorf("impossible conversation: got error %v, want %v", err, messages.ErrInvalid)
	}
}

// Subscribers may have used up the consumers of a stream. The feed needs none.
func TestFeedHasNoConsumers(t *testing.T) {
	const followers = 100
	s := newStore(t)
	created := roomlinktest.ConsumersCreated(t, s.JetStream().Conn(), "*")
	feed := runningFeed(t, s)
	var ends []func()
	for i := range followers {
		states, done := follow(t, feed, strconv.Itoa(i), 0, store.StatusReady)
		roomlinktest.Receive(t, states, "the first state")
		ends = append(ends, func() { wantEnd(t, states, done, store.StatusReady) })
	}
	for _, stream := range []string{messages.LinksStream, messages.DeadLettersStream} {
		if got := roomlinktest.Stream(t, s, stream).CachedInfo().State.Consumers; got != 0 {
			t.Errorf("consumers of %q: got %d, want none", stream, got)
		}
	}
	for i, end := range ends {
		roomlinktest.PublishLinks(t, s, roomlinktest.Links(strconv.Itoa(i), 1), 0)
		end()
	}
	if len(created) > 0 {
		t.Errorf("created consumers: got %q, want none", <-created)
	}
}
