package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

const (
	// maxBatchReads bounds a group. The server answers one request with at most 1,024
	// messages.
	maxBatchReads = 512
	// maxBatchBytes bounds the answer to a group. The reader reads what does not fit one
	// by one.
	maxBatchBytes = 4 << 20
	// deadLetterDelay is the time for which reads of dead letters gather. A worker makes
	// one for each event after its links are stored, and nobody waits for it.
	deadLetterDelay = 4 * time.Millisecond
)

// batchReader reads the last messages on subjects in groups. Reads that arrive during
// a request form the next group, which is one request. A read that arrives while no
// request is under way starts one: at once, or after the delay if there is one.
type batchReader struct {
	js     jetstream.JetStream
	stream string
	delay  time.Duration
	// running counts the goroutines.
	running *sync.WaitGroup

	mu      sync.Mutex
	waiting []*read
	// busy is true while a request is under way.
	busy bool
}

// read is a subject to read, and the channel for its result.
type read struct {
	subject string
	done    chan readResult // has room for one
}

type readResult struct {
	message jetstream.RawStreamMsg
	err     error
}

// last reads the last message on a subject, as [messages.GetDirect] does.
func (b *batchReader) last(ctx context.Context, subject string) (jetstream.RawStreamMsg, error) {
	waiting := b.join(subject)
	if waiting == nil {
		defer b.next()
		return getDirect(ctx, b.js, b.stream, subject)
	}
	select {
	case result := <-waiting.done:
		return result.message, result.err
	case <-ctx.Done():
		b.leave(waiting)
		return jetstream.RawStreamMsg{}, ctx.Err()
	}
}

// leave removes an abandoned read from the queue. So the queue is never longer than its
// callers are many.
func (b *batchReader) leave(abandoned *read) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = slices.DeleteFunc(b.waiting, func(r *read) bool { return r == abandoned })
}

// join queues a read. It returns nil if the caller is to read by itself, at once.
func (b *batchReader) join(subject string) *read {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := !b.busy
	b.busy = true
	if first && b.delay == 0 {
		return nil
	}
	waiting := &read{subject: subject, done: make(chan readResult, 1)}
	b.waiting = append(b.waiting, waiting)
	if first {
		b.running.Go(b.next)
	}
	return waiting
}

// next starts the next group after the previous one has ended.
func (b *batchReader) next() {
	if b.delay > 0 {
		<-time.After(b.delay)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.busy = false
		return
	}
	group := b.waiting[:min(len(b.waiting), maxBatchReads)]
	b.waiting = b.waiting[len(group):]
	b.running.Go(func() {
		defer b.next()
		b.read(group)
	})
}

func (b *batchReader) read(group []*read) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	var found map[string]jetstream.RawStreamMsg
	var missing error
	if len(group) > 1 {
		found, missing = b.readAll(ctx, group)
	}
	for _, waiting := range group {
		m, ok := found[waiting.subject]
		switch {
		case ok:
			waiting.done <- readResult{message: m}
		case missing != nil:
			waiting.done <- readResult{err: missing}
		default:
			m, err := getDirect(ctx, b.js, b.stream, waiting.subject)
			waiting.done <- readResult{m, err}
		}
	}
}

// readAll reads the last messages of a group with one request (NATS ADR-31). It returns
// them by subject. missing is the error of all other subjects; nil if the answer does not
// have every message that exists. jetstreamext.GetLastMsgsFor would not do: it cannot
// bound the answer, and it reports an unreadable message as a missing one.
func (b *batchReader) readAll(
	ctx context.Context, group []*read,
) (found map[string]jetstream.RawStreamMsg, missing error) {
	subjects := make([]string, len(group))
	for i, waiting := range group {
		subjects[i] = waiting.subject
	}
	request, err := json.Marshal(map[string]any{"multi_last": subjects, "max_bytes": maxBatchBytes})
	if err != nil {
		return nil, err
	}
	nc := b.js.Conn()
	inbox, replies := nc.NewInbox(), make(chan *nats.Msg, len(group)+1)
	subscription, err := nc.ChanSubscribe(inbox, replies)
	if err != nil {
		return nil, err
	}
	defer func() { _ = subscription.Unsubscribe() }() // fails only on a closed connection
	if err := nc.PublishRequest(messages.APIPrefix(b.js)+"DIRECT.GET."+b.stream, inbox, request); err != nil {
		return nil, err
	}
	found = map[string]jetstream.RawStreamMsg{}
	for {
		select {
		case reply := <-replies:
			if last, missing := collect(reply, found); last || missing != nil {
				return found, missing
			}
		case <-ctx.Done():
			return found, ctx.Err()
		}
	}
}

// collect adds one reply to a group's messages. last is true for the end of the answer.
func collect(reply *nats.Msg, found map[string]jetstream.RawStreamMsg) (last bool, missing error) {
	switch status, description := reply.Header.Get("Status"), reply.Header.Get("Description"); {
	case status == "204" && reply.Header.Get("Nats-Num-Pending") != "0":
		return true, nil
	case status == "204", status == "404" && description == "No Results": // "Message Not Found" means an unreadable one
		return true, messages.ErrNotFound
	case status != "":
		return true, fmt.Errorf("status %q: %s", status, description)
	}
	m, err := messages.DecodeDirect(reply)
	if err == nil {
		found[m.Subject] = m
	}
	return false, err
}
