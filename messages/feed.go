package messages

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	pullHeartbeat = 5 * time.Second
	// feedRetry is how long a feed waits before it tries again to begin.
	feedRetry = time.Second
	// feedIdle is how often a feed looks whether anybody still follows.
	feedIdle = 30 * time.Second
)

// Feed lets any number of callers wait for the links or the dead letter of a
// conversation, on one ordered consumer a stream and process, and on none while
// nobody waits. A caller's [Feed.Follow] works from the first moment: what is
// stored before the feed runs is read.
type Feed struct {
	client *Client
	idle   time.Duration

	mu        sync.Mutex
	followers map[followed]map[*follower]struct{}
	// first is closed, and replaced, when the first follower comes.
	first chan struct{}
}

// followed is a conversation as its subjects name it.
type followed struct{ account, token string }

// follower holds the news for one caller: only the last of each, so a slow
// caller holds up nobody and costs no memory.
type follower struct {
	wake chan struct{}

	mu         sync.Mutex
	links      *Stored[Links]
	deadLetter *Stored[DeadLetter]
	stale      bool
}

// NewFeed returns a feed that waits for [Feed.Run].
func NewFeed(client *Client) *Feed {
	return &Feed{
		client: client, idle: feedIdle,
		followers: map[followed]map[*follower]struct{}{}, first: make(chan struct{}),
	}
}

// Run watches until the context ends, and then returns nil. While the broker is
// out of reach it tries again, and tells report why; report may be nil.
func (f *Feed) Run(ctx context.Context, report func(error)) error {
	var group sync.WaitGroup
	group.Go(func() { f.keepWatching(ctx, LinksStream, f.tellLinks, report) })
	group.Go(func() { f.keepWatching(ctx, DeadLettersStream, f.tellDeadLetter, report) })
	group.Wait()
	return nil
}

func (f *Feed) keepWatching(ctx context.Context, stream string, tell func(jetstream.Msg), report func(error)) {
	for f.awaitFollower(ctx) {
		err := f.watch(ctx, stream, tell)
		if ctx.Err() != nil || err == nil {
			continue
		}
		if report != nil {
			report(fmt.Errorf("watching stream %q: %w", stream, err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(feedRetry):
		}
	}
}

// awaitFollower waits until somebody follows. It returns false if the context
// ended before.
func (f *Feed) awaitFollower(ctx context.Context) bool {
	f.mu.Lock()
	nobody, first := len(f.followers) == 0, f.first
	f.mu.Unlock()
	if nobody {
		select {
		case <-first:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

func (f *Feed) deserted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.followers) == 0
}

// watch runs one ordered consumer, and returns nil when nobody follows any more. It
// starts at a sequence and not at "new": a consumer that the client resets before its
// first message would begin at a later "new" than the first one.
func (f *Feed) watch(ctx context.Context, stream string, tell func(jetstream.Msg)) error {
	js := f.client.js
	last, err := lastSequence(ctx, js, stream)
	if err != nil {
		return err
	}
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   last + 1,
	})
	if err != nil {
		return err
	}
	consuming, err := consumer.Consume(tell,
		jetstream.PullHeartbeat(pullHeartbeat),
		jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) { f.readAgain() }))
	if err != nil {
		return err
	}
	f.readAgain()
	err = f.untilDeserted(ctx, consuming)
	consuming.Stop()
	<-consuming.Closed()
	if err == nil {
		// It would go by itself, after minutes.
		_ = js.DeleteConsumer(ctx, stream, consumer.CachedInfo().Name)
	}
	return err
}

// untilDeserted returns nil once nobody follows any more.
func (f *Feed) untilDeserted(ctx context.Context, consuming jetstream.ConsumeContext) error {
	idle := time.NewTicker(f.idle)
	defer idle.Stop()
	for !f.deserted() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-consuming.Closed():
			return errors.New("the consumer is closed")
		case <-idle.C:
		}
	}
	return nil
}

func (f *Feed) tellLinks(msg jetstream.Msg) {
	tell(f, msg, func(w *follower, links Stored[Links]) { w.links = &links })
}

func (f *Feed) tellDeadLetter(msg jetstream.Msg) {
	tell(f, msg, func(w *follower, letter Stored[DeadLetter]) { w.deadLetter = &letter })
}

// tell passes a message on to those who follow its conversation. Most have
// nobody, and are not even read.
func tell[T Data](f *Feed, msg jetstream.Msg, news func(*follower, Stored[T])) {
	account, token, err := SplitSubject(msg.Subject())
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	followers := f.followers[followed{account, token}]
	if len(followers) == 0 {
		return
	}
	stored, err := fromMessage[T](msg)
	if err != nil {
		return
	}
	for w := range followers {
		w.update(func(w *follower) { news(w, stored) })
	}
}

// readAgain has every caller read the state anew: something may have been
// stored that no consumer saw.
func (f *Feed) readAgain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, followers := range f.followers {
		for w := range followers {
			w.update(func(w *follower) { w.stale = true })
		}
	}
}

func (w *follower) update(news func(*follower)) {
	w.mu.Lock()
	news(w)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the news since the last call.
func (w *follower) take() (links *Stored[Links], deadLetter *Stored[DeadLetter], stale bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	links, deadLetter, stale = w.links, w.deadLetter, w.stale
	w.links, w.deadLetter, w.stale = nil, nil, false
	return links, deadLetter, stale
}

func (f *Feed) join(conversation Conversation) (w *follower, leave func()) {
	key := followed{conversation.Account, conversation.Token()}
	w = &follower{wake: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.followers) == 0 {
		close(f.first)
		f.first = make(chan struct{})
	}
	if f.followers[key] == nil {
		f.followers[key] = map[*follower]struct{}{}
	}
	f.followers[key][w] = struct{}{}
	return w, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.followers[key], w)
		if len(f.followers[key]) == 0 {
			delete(f.followers, key)
		}
	}
}

// Follow calls fn with the state of a conversation, and again whenever something
// was stored for it, until fn returns true or the context ends. It subscribes
// before it reads, so nothing falls in between. refresh is how often it reads
// the state anew though nothing was told, which shows an event that was
// accepted and a ticket that ended; 0 for never. Its errors are those of
// [Client.State] and the context's.
func (f *Feed) Follow(
	ctx context.Context, conversation Conversation, refresh time.Duration, fn func(State) (done bool),
) error {
	w, leave := f.join(conversation)
	defer leave()
	seen, err := f.client.observe(ctx, conversation)
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
		links, deadLetter, stale := w.take()
		if read || stale {
			if seen, err = f.client.observe(ctx, conversation); err != nil {
				return err
			}
		}
		seen.add(links, deadLetter)
	}
	return nil
}
