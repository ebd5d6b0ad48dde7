package messages

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
	// leastBatch is the size from which on an atomic batch is faster than its
	// messages one by one, on a store that syncs every write: a batch costs some
	// 3 ms whatever its size, a message 0.26 ms.
	leastBatch = 12
	// mostBatch bounds a group; the server takes 1,000 in a batch.
	mostBatch = 512
	// mostWaiting bounds the messages that wait for their turn.
	mostWaiting = 8192
	// forgetAfter is how long an answer may take that nobody waits for any more.
	forgetAfter = 10 * time.Second
	// recentMost bounds each half of the subjects that are remembered.
	recentMost = 1 << 15
)

// errBusy says that more messages wait to be stored than may.
var errBusy = errors.New("too many messages wait to be stored")

// receipt is what the broker says of a message that it stored.
type receipt struct {
	sequence  uint64
	duplicate bool
}

// committer stores messages in groups, for a broker that syncs every write: what
// gathers while one group is under way is the next. A group of some size is an
// atomic batch, with one sync for all, and a smaller one goes message by message.
// A batch that the broker refuses for one of its messages is cut in half until
// that one is by itself, so that each caller has the answer to its own message.
// The messages of one subject are sent in the order in which they came.
type committer struct {
	js jetstream.JetStream

	mu      sync.Mutex
	waiting []*commit
	// busy says that something runs which takes what waits.
	busy   bool
	recent recent

	// running is for whoever wants to see the end of that.
	running sync.WaitGroup
}

// commit is one message, and who waits for it.
type commit struct {
	msg  *nats.Msg
	done chan answer // takes one
	part *round      // nil until its turn
	left bool        // it was given up before its turn
	// over says that it has its answer or was given up.
	over atomic.Bool
}

type answer struct {
	receipt receipt
	err     error
}

// round is one group under way. It ends at the latest when nobody waits for any
// of its messages.
type round struct {
	cancel  context.CancelFunc
	waiters atomic.Int64
}

func newCommitter(js jetstream.JetStream) *committer {
	// What is never answered must not stay in the client's books for ever.
	if own, err := jetstream.New(js.Conn(), jetstream.WithPublishAsyncTimeout(forgetAfter)); err == nil {
		js = own
	}
	return &committer{js: js, recent: newRecent()}
}

// publish stores a message. It returns the broker's refusal or another error, or
// that of the context, after which the message may be stored or not.
func (c *committer) publish(ctx context.Context, msg *nats.Msg) (receipt, error) {
	m := &commit{msg: msg, done: make(chan answer, 1)}
	if err := c.enqueue(m); err != nil {
		return receipt{}, err
	}
	select {
	case a := <-m.done:
		return a.receipt, a.err
	case <-ctx.Done():
		c.leave(m)
		return receipt{}, ctx.Err()
	}
}

func (c *committer) enqueue(m *commit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) >= mostWaiting {
		return errBusy
	}
	c.waiting = append(c.waiting, m)
	if !c.busy {
		c.busy = true
		c.running.Go(c.run)
	}
	return nil
}

// leave gives a message up. One that was not sent yet never is.
func (c *committer) leave(m *commit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.part == nil {
		m.left = true
		return
	}
	m.end()
}

// answer tells the caller what came of a message that had its turn.
func (m *commit) answer(a answer) {
	m.done <- a
	m.end()
}

// end counts a message off that has its answer or was given up.
func (m *commit) end() {
	if m.over.CompareAndSwap(false, true) && m.part.waiters.Add(-1) == 0 {
		m.part.cancel()
	}
}

// run stores one group after the other until nothing waits.
func (c *committer) run() {
	for {
		ctx, cancel := context.WithCancel(context.Background())
		fresh, repeats, more := c.take(cancel)
		c.store(ctx, fresh)
		c.singly(ctx, repeats)
		cancel()
		if !more {
			return
		}
	}
}

// take forms the next group. The messages on subjects that had one a moment ago
// stand apart: the broker most likely refuses those, and a batch with them.
func (c *committer) take(cancel context.CancelFunc) (fresh, repeats []*commit, more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &round{cancel: cancel}
	taken := 0
	for _, m := range c.waiting {
		if taken == mostBatch {
			break
		}
		taken++
		if m.left {
			continue
		}
		m.part = r
		r.waiters.Add(1)
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

// store stores messages on different subjects, in one batch where that pays.
func (c *committer) store(ctx context.Context, members []*commit) {
	if len(members) < leastBatch {
		c.singly(ctx, members)
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
			m.answer(answer{receipt: receipt{sequence: first + uint64(i)}})
		}
		return
	}
	var refusal *jetstream.APIError
	switch {
	case isFull(err), errors.Is(err, nats.ErrNoResponders):
		// One by one some may still fit, or find the next leader, and the others are
		// refused without a write.
		unbatch(msgs)
		c.singly(ctx, members)
	case errors.As(err, &refusal):
		// Nothing of it is stored (NATS ADR-50), and it is not said for which of them.
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

// unbatch makes single messages of those of a batch.
func unbatch(msgs []*nats.Msg) {
	for _, msg := range msgs {
		delete(msg.Header, jetstreamext.BatchIDHeader)
		delete(msg.Header, jetstreamext.BatchSeqHeader)
		delete(msg.Header, jetstreamext.BatchCommitHeader)
	}
}

// singly sends messages one behind the other, and then waits for all.
func (c *committer) singly(ctx context.Context, members []*commit) {
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
			members[i].answer(answer{receipt: receipt{ack.Sequence, ack.Duplicate}})
		case err := <-future.Err():
			members[i].answer(answer{err: err})
		case <-ctx.Done():
			members[i].answer(answer{err: fmt.Errorf("waiting for the broker: %w", ctx.Err())})
		}
	}
}

// recent remembers the last subjects, by their hashes.
type recent struct {
	seed     maphash.Seed
	new, old map[uint64]struct{}
}

func newRecent() recent {
	return recent{seed: maphash.MakeSeed(), new: map[uint64]struct{}{}}
}

// add reports whether a subject was not there, and remembers it.
func (r *recent) add(subject string) bool {
	hash := maphash.String(r.seed, subject)
	if _, known := r.new[hash]; known {
		return false
	}
	_, known := r.old[hash]
	if len(r.new) >= recentMost {
		r.old, r.new = r.new, map[uint64]struct{}{}
	}
	r.new[hash] = struct{}{}
	return !known
}
