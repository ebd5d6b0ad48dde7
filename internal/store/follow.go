package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

const (
	pullHeartbeat = 5 * time.Second
	// feedRetryDelay is the time between two attempts to watch a stream.
	feedRetryDelay = time.Second
	// feedIdleInterval is the interval at which a feed checks whether anybody follows.
	feedIdleInterval = 30 * time.Second
)

// Feed lets any number of callers wait for the links or the dead letter of a
// conversation. It uses one ordered consumer for a stream, and none while nobody waits.
// [Feed.Follow] works before [Feed.Run] watches, because Run makes every caller read
// again.
type Feed struct {
	store        *Store
	idleInterval time.Duration

	// mu guards the fields below, and update and stale of each follower.
	mu        sync.Mutex
	followers map[key][]*follower
	// first is closed, and replaced, when the first follower joins.
	first chan struct{}
}

// key is a conversation, as its subjects name it.
type key struct{ account, token string }

// follower keeps the latest updates for one caller. A slow caller delays nobody and
// costs no memory.
type follower struct {
	wake   chan struct{}
	update Snapshot
	stale  bool
}

// NewFeed returns a feed. [Feed.Run] starts it.
func NewFeed(store *Store) *Feed {
	return &Feed{
		store: store, idleInterval: feedIdleInterval,
		followers: map[key][]*follower{}, first: make(chan struct{}),
	}
}

// Run watches until the context ends, and then returns nil. If the broker is out of
// reach, Run passes the reason to report and tries again. report may be nil.
func (f *Feed) Run(ctx context.Context, report func(error)) error {
	var group sync.WaitGroup
	passLinks := pass(f, func(w *follower, links *messages.Stored[messages.Links]) { w.update.Links = links })
	passDeadLetter := pass(f, func(w *follower, letter *messages.Stored[messages.DeadLetter]) { w.update.DeadLetter = letter })
	group.Go(func() { f.keepWatching(ctx, messages.LinksStream, passLinks, report) })
	group.Go(func() { f.keepWatching(ctx, messages.DeadLettersStream, passDeadLetter, report) })
	group.Wait()
	return nil
}

func (f *Feed) keepWatching(ctx context.Context, stream string, pass func(jetstream.Msg), report func(error)) {
	for f.awaitFollower(ctx) {
		err := f.watch(ctx, stream, pass)
		if ctx.Err() != nil || err == nil {
			continue
		}
		if report != nil {
			report(fmt.Errorf("watching stream %q: %w", stream, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(feedRetryDelay):
		}
	}
}

// awaitFollower waits until somebody follows. It returns false if the context ended.
func (f *Feed) awaitFollower(ctx context.Context) bool {
	if idle, first := f.idle(); idle {
		select {
		case <-first:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// idle reports whether nobody follows. The channel is closed when somebody does.
func (f *Feed) idle() (idle bool, first <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.followers) == 0, f.first
}

// watch runs one ordered consumer, and returns nil when nobody follows any more. The
// consumer starts at a sequence, not at "new": if the client resets it before its first
// message, a second "new" would miss what came in between.
func (f *Feed) watch(ctx context.Context, stream string, pass func(jetstream.Msg)) error {
	state, err := f.store.StreamState(ctx, stream)
	if err != nil {
		return err
	}
	consumer, err := f.store.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   state.LastSeq + 1,
	})
	if err != nil {
		return err
	}
	consuming, err := consumer.Consume(pass,
		jetstream.PullHeartbeat(pullHeartbeat),
		jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) { f.readAgain() }))
	if err != nil {
		return err
	}
	f.readAgain()
	err = f.awaitIdle(ctx, consuming)
	consuming.Stop()
	<-consuming.Closed()
	if err == nil {
		// The broker would delete the consumer only after minutes.
		_ = f.store.js.DeleteConsumer(ctx, stream, consumer.CachedInfo().Name)
	}
	return err
}

// awaitIdle returns nil when nobody follows any more.
func (f *Feed) awaitIdle(ctx context.Context, consuming jetstream.ConsumeContext) error {
	ticker := time.NewTicker(f.idleInterval)
	defer ticker.Stop()
	for {
		if idle, _ := f.idle(); idle {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-consuming.Closed():
			return errors.New("the consumer is closed")
		case <-ticker.C:
		}
	}
}

// pass returns a function that passes a message to the followers of its conversation.
// Most messages have no followers: the function does not decode those.
func pass[T messages.Data](f *Feed, set func(*follower, *messages.Stored[T])) func(jetstream.Msg) {
	return func(msg jetstream.Msg) {
		account, token, err := messages.SplitSubject(msg.Subject())
		if err != nil {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		followers := f.followers[key{account, token}]
		if len(followers) == 0 {
			return
		}
		stored, err := messages.DecodeDelivered[T](msg)
		if err != nil {
			return
		}
		for _, w := range followers {
			set(w, &stored)
			w.wakeUp()
		}
	}
}

// readAgain makes every follower read the state: the consumer may have missed
// messages.
func (f *Feed) readAgain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, followers := range f.followers {
		for _, w := range followers {
			w.stale = true
			w.wakeUp()
		}
	}
}

func (w *follower) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the updates of a follower since the last call.
func (f *Feed) take(w *follower) (update Snapshot, stale bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	update, stale = w.update, w.stale
	w.update, w.stale = Snapshot{}, false
	return update, stale
}

func (f *Feed) join(conversation messages.Conversation) (w *follower, leave func()) {
	k := key{conversation.Account, messages.Token(conversation.InteractionID)}
	w = &follower{wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.followers) == 0 {
		close(f.first)
		f.first = make(chan struct{})
	}
	f.followers[k] = append(f.followers[k], w)
	return w, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.followers[k] = slices.DeleteFunc(f.followers[k], func(other *follower) bool { return other == w })
		if len(f.followers[k]) == 0 {
			delete(f.followers, k)
		}
	}
}

// Follow calls fn with the state of a conversation, and again after every change,
// until fn returns true or the context ends. It subscribes before it reads, so it
// misses nothing. It also reads the state at the interval refresh, because only a read
// shows a new event or the end of a ticket; 0 means never. Its errors are those of
// [Store.State] and the context's.
func (f *Feed) Follow(
	ctx context.Context, conversation messages.Conversation, refresh time.Duration, fn func(State) (done bool),
) error {
	w, leave := f.join(conversation)
	defer leave()
	seen, err := f.store.observe(ctx, conversation)
	if err != nil {
		return err
	}
	var again <-chan time.Time
	if refresh > 0 {
		ticker := time.NewTicker(refresh)
		defer ticker.Stop()
		again = ticker.C
	}
	for !fn(seen.state(time.Now())) {
		read := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again:
			read = true
		case <-w.wake:
		}
		update, stale := f.take(w)
		if read || stale {
			if seen, err = f.store.observe(ctx, conversation); err != nil {
				return err
			}
		}
		seen.add(update)
	}
	return nil
}
