package store

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

const (
	// minBatch is the minimum size of an atomic batch. On a store that syncs every write,
	// a batch costs about 3 ms whatever its size, and a single message 0.26 ms.
	minBatch = 12
	// maxBatch bounds a group. The server accepts at most 1,000 messages in a batch.
	maxBatch   = 512
	maxWaiting = 8192
	// answerTimeout bounds the wait for an answer that no caller waits for.
	answerTimeout = 10 * time.Second
	// maxRecent bounds each half of the remembered subjects.
	maxRecent = 1 << 15
)

// errBusy reports that [maxWaiting] messages wait.
var errBusy = errors.New("too many messages wait to be stored")

// committer stores messages in groups, for a broker that syncs every write. Messages
// that arrive while it stores one group form the next group. It stores a group of at
// least [minBatch] messages as an atomic batch, with one sync for all, and a smaller
// group message by message. If the broker refuses a batch because of one member, the
// committer halves the batch until that member is alone, so that each caller gets the
// answer to its own message. Messages on one subject keep their order.
type committer struct {
	js jetstream.JetStream
	// running counts the goroutines.
	running *sync.WaitGroup

	mu      sync.Mutex
	waiting []*commit
	// busy is true while run runs.
	busy   bool
	recent recent
}

// commit is one message and its caller.
type commit struct {
	msg   *nats.Msg
	done  chan answer // has room for one
	group *group      // nil before the message's turn
	// ended is true once the message has its answer or its caller left.
	ended atomic.Bool
}

type answer struct {
	ack *jetstream.PubAck
	err error
}

// group is a group that the committer stores. Its context ends when nobody waits for
// any of its messages.
type group struct {
	cancel  context.CancelFunc
	waiters atomic.Int64
}

func newCommitter(s *Store) *committer {
	js := s.js
	// Without this time-out the client would keep unanswered messages for ever.
	if own, err := jetstream.New(js.Conn(), jetstream.WithPublishAsyncTimeout(answerTimeout)); err == nil {
		js = own
	}
	return &committer{js: js, running: &s.running, recent: recent{seed: maphash.MakeSeed(), new: map[uint64]struct{}{}}}
}

// publish stores a message. It returns the broker's refusal, another error, or the
// context's error. After the context's error the message may be stored or not.
func (c *committer) publish(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	m := &commit{msg: msg, done: make(chan answer, 1)}
	if err := c.enqueue(m); err != nil {
		return nil, err
	}
	select {
	case a := <-m.done:
		return a.ack, a.err
	case <-ctx.Done():
		c.leave(m)
		return nil, ctx.Err()
	}
}

func (c *committer) enqueue(m *commit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) >= maxWaiting {
		return errBusy
	}
	c.waiting = append(c.waiting, m)
	if !c.busy {
		c.busy = true
		c.running.Go(c.run)
	}
	return nil
}

// leave abandons a message. The committer never sends a message that its caller
// abandoned before its turn.
func (c *committer) leave(m *commit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.end()
}

func (m *commit) answer(a answer) {
	m.done <- a
	m.end()
}

// end counts a message as ended, once.
func (m *commit) end() {
	if m.ended.CompareAndSwap(false, true) && m.group != nil && m.group.waiters.Add(-1) == 0 {
		m.group.cancel()
	}
}

// run stores one group after the other until nothing waits.
func (c *committer) run() {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		fresh, repeats, more := c.take(cancel)
		c.store(ctx, fresh)
		c.storeSingly(ctx, repeats)
		cancel()
		if !more {
			return
		}
	}
}

// take forms the next group. It separates the messages on recent subjects: the broker
// probably refuses them, and a batch with them.
func (c *committer) take(cancel context.CancelFunc) (fresh, repeats []*commit, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := &group{cancel: cancel}
	taken := min(len(c.waiting), maxBatch)
	for _, m := range c.waiting[:taken] {
		if m.ended.Load() {
			continue
		}
		m.group = g
		g.waiters.Add(1)
		if c.recent.add(m.msg.Subject) {
			fresh = append(fresh, m)
		} else {
			repeats = append(repeats, m)
		}
	}
	rest := copy(c.waiting, c.waiting[taken:])
	clear(c.waiting[rest:])
	c.waiting = c.waiting[:rest]
	c.busy = taken > 0
	return fresh, repeats, taken > 0
}

// store stores messages on different subjects, as one batch if that is faster.
func (c *committer) store(ctx context.Context, members []*commit) {
	if len(members) < minBatch {
		c.storeSingly(ctx, members)
		return
	}
	msgs := make([]*nats.Msg, len(members))
	for i, m := range members {
		msgs[i] = m.msg
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, c.js, msgs, jetstreamext.BatchFlowControl{})
	if err == nil {
		first := ack.Sequence - uint64(len(members)) + 1
		for i, m := range members {
			m.answer(answer{ack: &jetstream.PubAck{Sequence: first + uint64(i)}})
		}
		return
	}
	_, refused := errors.AsType[*jetstream.APIError](err)
	switch {
	case isFull(err), errors.Is(err, nats.ErrNoResponders):
		// Single messages may still fit, or reach the next leader.
		unbatch(msgs)
		c.storeSingly(ctx, members)
	case refused:
		// The broker stored none of them, and does not name the refused one (NATS ADR-50).
		unbatch(msgs)
		half := len(members) / 2
		c.store(ctx, members[:half])
		c.store(ctx, members[half:])
	default:
		for _, m := range members {
			m.answer(answer{err: err})
		}
	}
}

func unbatch(msgs []*nats.Msg) {
	for _, msg := range msgs {
		delete(msg.Header, jetstreamext.BatchIDHeader)
		delete(msg.Header, jetstreamext.BatchSeqHeader)
		delete(msg.Header, jetstreamext.BatchCommitHeader)
	}
}

// storeSingly sends all messages, and then waits for their answers.
func (c *committer) storeSingly(ctx context.Context, members []*commit) {
	futures := make([]jetstream.PubAckFuture, len(members))
	for i, m := range members {
		var err error
		if futures[i], err = c.js.PublishMsgAsync(m.msg); err != nil {
			m.answer(answer{err: err})
		}
	}
	for i, future := range futures {
		if future == nil {
			continue
		}
		select {
		case ack := <-future.Ok():
			members[i].answer(answer{ack: ack})
		case err := <-future.Err():
			members[i].answer(answer{err: err})
		case <-ctx.Done():
			members[i].answer(answer{err: fmt.Errorf("waiting for the broker: %w", ctx.Err())})
		}
	}
}

// recent remembers the hashes of the last subjects.
type recent struct {
	seed     maphash.Seed
	new, old map[uint64]struct{}
}

// add remembers a subject, and reports whether it is new.
func (r *recent) add(subject string) bool {
	hash := maphash.String(r.seed, subject)
	if _, known := r.new[hash]; known {
		return false
	}
	_, known := r.old[hash]
	if len(r.new) >= maxRecent {
		r.old, r.new = r.new, map[uint64]struct{}{}
	}
	r.new[hash] = struct{}{}
	return !known
}
