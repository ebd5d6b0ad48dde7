package crashtest_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
)

const (
	callers = 16
	// perSecond bounds the load; a slow machine has less of it.
	perSecond = 150
)

// load is callers who report one conversation after the other, each again and again
// until it is answered 2xx.
type load struct {
	tb      testing.TB
	limiter *rate.Limiter
	stopped chan struct{}
	group   sync.WaitGroup

	mu      sync.Mutex
	base    string
	taken   []string
	refused map[int]int
	last    time.Time
	gap     time.Duration
	// changed is closed, and replaced, with every answer.
	changed chan struct{}
}

// startLoad has callers report to a webhook until they are stopped.
func startLoad(tb testing.TB, base string) *load {
	tb.Helper()
	l := &load{
		tb: tb, limiter: rate.NewLimiter(perSecond, callers), stopped: make(chan struct{}),
		base: base, refused: map[int]int{}, changed: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(tb.Context())
	for caller := range callers {
		l.group.Go(func() {
			n := 0
			for l.report(ctx, fmt.Sprintf("call-%d-%d", caller, n)) {
				n++
			}
		})
	}
	tb.Cleanup(func() {
		cancel()
		l.group.Wait()
	})
	return l
}

// report reports a conversation until that is answered 2xx, and tells whether there
// may be another one.
func (l *load) report(ctx context.Context, id string) bool {
	select {
	case <-l.stopped:
		return false
	default:
	}
	for l.limiter.Wait(ctx) == nil {
		if l.count(id, programtest.Post(l.tb, l.target(), id).Status) {
			return true
		}
	}
	return false
}

func (l *load) target() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.base
}

// aim has the callers report to another webhook.
func (l *load) aim(base string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.base = base
}

// count counts an answer, and tells whether it was 2xx.
func (l *load) count(id string, status int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	if status != http.StatusAccepted && status != http.StatusOK {
		l.refused[status]++
		return false
	}
	l.taken = append(l.taken, id)
	if !l.last.IsZero() {
		l.gap = max(l.gap, time.Since(l.last))
	}
	l.last = time.Now()
	return true
}

// await waits until something holds of the counts, which it may read.
func (l *load) await(what string, holds func() bool) {
	l.tb.Helper()
	deadline := time.NewTimer(roomlinktest.Timeout)
	defer deadline.Stop()
	for {
		l.mu.Lock()
		done, changed := holds(), l.changed
		taken, refused := len(l.taken), fmt.Sprint(l.refused)
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			l.tb.Fatalf("waiting for %s: got %d events taken, refused by status %s", what, taken, refused)
		}
	}
}

// awaitTaken waits until that many more events are answered 2xx.
func (l *load) awaitTaken(more int) {
	l.tb.Helper()
	l.mu.Lock()
	want := len(l.taken) + more
	l.mu.Unlock()
	l.await(fmt.Sprintf("%d events", more), func() bool { return len(l.taken) >= want })
}

// awaitRefused waits until that many more events are answered with a status.
func (l *load) awaitRefused(status, more int) {
	l.tb.Helper()
	l.mu.Lock()
	want := l.refused[status] + more
	l.mu.Unlock()
	l.await(fmt.Sprintf("%d answers of %d", more, status), func() bool { return l.refused[status] >= want })
}

// sinceGap measures the gap anew, and returns the longest time without a 2xx since it
// did so last.
func (l *load) sinceGap() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	gap := l.gap
	l.gap = 0
	return gap
}

// stop lets every caller finish, and returns the events that were answered 2xx.
func (l *load) stop() []string {
	l.tb.Helper()
	close(l.stopped)
	done := make(chan struct{})
	go func() {
		l.group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(roomlinktest.Timeout):
		l.tb.Fatalf("the callers get no 2xx: got statuses %v", l.statuses())
	}
	return l.answered()
}

// answered are the events that were answered 2xx so far.
func (l *load) answered() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}

func (l *load) statuses() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.refused)
}
