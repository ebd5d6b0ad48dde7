package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"roomlink/messages"
)

const (
	// A feed that falls behind by more than this makes everybody read again.
	maxFeedMessages = 16 << 10
	maxFeedBytes    = 16 << 20
)

// Feed lets any number of callers wait for the links or the dead letter of a
// conversation. It subscribes to what the broker publishes when it stores them, and
// creates no consumer. [Feed.Follow] works before [Feed.Run] subscribes, because Run
// makes every caller read again.
type Feed struct {
	store *Store

	// mu guards the fields below, and update and stale of each follower.
	mu        sync.Mutex
	followers map[key][]*follower
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
func NewFeed(store *Store) *Feed { return &Feed{store: store, followers: map[key][]*follower{}} }

// Run subscribes until the context ends, and then returns nil. After the connection was
// interrupted, every caller reads again. Run returns an error if the connection is closed
// for good.
func (f *Feed) Run(ctx context.Context) error {
	nc := f.store.js.Conn()
	connected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(connected)
	group, ctx := errgroup.WithContext(ctx)
	for subject, pass := range map[string]func(*nats.Msg){
		messages.LiveSubjects: pass(f, func(w *follower, links *messages.Stored[messages.Links]) { w.update.Links = links }),
		messages.FailedSubjects: pass(f, func(w *follower, letter *messages.Stored[messages.DeadLetter]) {
			w.update.DeadLetter = letter
		}),
	} {
		subscription, err := nc.SubscribeSync(subject + "*.*")
		if err == nil {
			defer func() { _ = subscription.Unsubscribe() }() // fails only on a closed connection
			err = subscription.SetPendingLimits(maxFeedMessages, maxFeedBytes)
		}
		group.Go(func() error {
			if err == nil {
				err = f.listen(ctx, subscription, pass)
			}
			if err != nil {
				return fmt.Errorf("following %q: %w", subject+"*.*", err)
			}
			return nil
		})
	}
	group.Go(func() error {
		for ctx.Err() == nil {
			f.catchUp(ctx)
			select {
			case <-connected:
			case <-ctx.Done():
			}
		}
		return nil
	})
	return group.Wait()
}

// listen passes the messages of a subscription until the context ends.
func (f *Feed) listen(ctx context.Context, subscription *nats.Subscription, pass func(*nats.Msg)) error {
	for ctx.Err() == nil {
		msg, err := subscription.NextMsgWithContext(ctx)
		switch {
		case err == nil:
			pass(msg)
		case errors.Is(err, nats.ErrSlowConsumer):
			f.readAgain() // the client dropped messages
		case ctx.Err() == nil:
			return err
		}
	}
	return nil
}

// catchUp waits until the broker has the subscriptions. Only a read finds what it stored
// before.
func (f *Feed) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// If this fails, the connection breaks, and its successor catches up.
	_ = f.store.js.Conn().FlushWithContext(ctx)
	f.readAgain()
}

// pass returns a function that passes a message to the followers of its conversation.
// Most messages have no followers: the function does not decode those.
func pass[T messages.Data](f *Feed, set func(*follower, *messages.Stored[T])) func(*nats.Msg) {
	return func(msg *nats.Msg) {
		account, token, err := messages.SplitSubject(msg.Subject)
		if err != nil {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		followers := f.followers[key{account, token}]
		if len(followers) == 0 {
			return
		}
		stored, err := messages.DecodeLive[T](msg)
		if err != nil {
			return
		}
		for _, w := range followers {
			set(w, &stored)
			w.wakeUp()
		}
	}
}

// readAgain makes every follower read the state: the feed may have missed messages.
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
