package messages

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// mostLookups bounds a group; the server answers at most 1,024 messages to one
	// request.
	mostLookups = 512
	// mostLookupBytes bounds the answer to a group, in bytes. What does not fit is
	// read by itself.
	mostLookupBytes = 4 << 20
	// gatherDeadLetters is how long look-ups of dead letters gather: a worker makes one
	// for each event whose links are stored already, and nobody waits for it.
	gatherDeadLetters = 4 * time.Millisecond
)

// lookups reads the last messages of subjects in groups: what gathers while one
// read is under way is the next, as one request. A caller who finds nothing under
// way reads for itself at once, unless each group is to gather for a while.
type lookups struct {
	nc     *nats.Conn
	stream string
	gather time.Duration

	mu      sync.Mutex
	waiting []*lookup
	// busy says that a read is under way, after which what waits has its turn.
	busy bool

	// running is for whoever wants to see the end of the groups.
	running sync.WaitGroup
}

// lookup is one subject, and who waits for it.
type lookup struct {
	subject string
	done    chan found // takes one
}

type found struct {
	message raw
	err     error
}

func newLookups(nc *nats.Conn, stream string, gather time.Duration) *lookups {
	return &lookups{nc: nc, stream: stream, gather: gather}
}

// last reads the last message of a subject, as [readDirect] does.
func (l *lookups) last(ctx context.Context, subject string) (raw, error) {
	waiting := l.join(subject)
	if waiting == nil {
		defer l.next()
		return readDirect(ctx, l.nc, l.stream, subject)
	}
	select {
	case f := <-waiting.done:
		return f.message, f.err
	case <-ctx.Done():
		return raw{}, fmt.Errorf("reading stream %q: %w", l.stream, ctx.Err())
	}
}

// join has a caller wait for its turn; nil for one whose turn it is.
func (l *lookups) join(subject string) *lookup {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !l.busy
	l.busy = true
	if first && l.gather == 0 {
		return nil
	}
	waiting := &lookup{subject: subject, done: make(chan found, 1)}
	l.waiting = append(l.waiting, waiting)
	if first {
		l.running.Go(l.next)
	}
	return waiting
}

// next has those read who wait, now that nothing is being read.
func (l *lookups) next() {
	if l.gather > 0 {
		<-time.After(l.gather)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.busy = false
		return
	}
	group := l.waiting[:min(len(l.waiting), mostLookups)]
	l.waiting = l.waiting[len(group):]
	l.running.Go(func() {
		defer l.next()
		l.read(group)
	})
}

// read answers a group.
func (l *lookups) read(group []*lookup) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	if len(group) == 1 {
		m, err := readDirect(ctx, l.nc, l.stream, group[0].subject)
		group[0].done <- found{m, err}
		return
	}
	messages, whole, err := l.readAll(ctx, group)
	for _, waiting := range group {
		m, there := messages[waiting.subject]
		switch {
		case there:
			waiting.done <- found{message: m}
		case err != nil:
			waiting.done <- found{err: err}
		case whole:
			waiting.done <- found{err: ErrNotFound}
		default:
			m, err := readDirect(ctx, l.nc, l.stream, waiting.subject)
			waiting.done <- found{m, err}
		}
	}
}

// readAll reads the last messages of all subjects of a group with one request (NATS
// ADR-31), by subject. It tells whether they are all that there are.
func (l *lookups) readAll(ctx context.Context, group []*lookup) (messages map[string]raw, whole bool, err error) {
	subjects := make([]string, len(group))
	for i, waiting := range group {
		subjects[i] = waiting.subject
	}
	request, err := json.Marshal(map[string]any{"multi_last": subjects, "max_bytes": mostLookupBytes})
	if err != nil {
		return nil, false, err
	}
	inbox, replies := l.nc.NewInbox(), make(chan *nats.Msg, len(group)+1)
	subscription, err := l.nc.ChanSubscribe(inbox, replies)
	if err != nil {
		return nil, false, fmt.Errorf("reading stream %q: %w", l.stream, err)
	}
	defer func() { _ = subscription.Unsubscribe() }() // fails with the connection, which ends it too
	if err := l.nc.PublishRequest(jetstream.DefaultAPIPrefix+"DIRECT.GET."+l.stream, inbox, request); err != nil {
		return nil, false, fmt.Errorf("reading stream %q: %w", l.stream, err)
	}
	messages = map[string]raw{}
	for {
		var reply *nats.Msg
		select {
		case reply = <-replies:
		case <-ctx.Done():
			return messages, false, fmt.Errorf("reading stream %q: %w", l.stream, ctx.Err())
		}
		status, description := reply.Header.Get("Status"), reply.Header.Get("Description")
		switch {
		case status == "":
			m, err := fromDirect(reply, l.stream)
			if err != nil {
				return messages, false, err
			}
			messages[m.subject] = m
		case status == "204": // the end
			return messages, reply.Header.Get("Nats-Num-Pending") == "0", nil
		case status == "404" && description == "No Results": // and not one that cannot be read
			return messages, true, nil
		default:
			return messages, false, statusError(reply, l.stream)
		}
	}
}
