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
	// maxRate bounds the load, in events a second.
	maxRate = 150
)

// load is a group of callers. Each caller reports one conversation after the other, and repeats
// each until it is answered 2xx.
type load struct {
	tb      testing.TB
	limiter *rate.Limiter
	stopped chan struct{}
	group   sync.WaitGroup

	mu       sync.Mutex
	base     string
	accepted []string
	refused  map[int]int
	last     time.Time
	gap      time.Duration
	// changed is closed and replaced on every answer.
	changed chan struct{}
}

// startLoad starts callers that report to a webhook until stop is called.
func startLoad(tb testing.TB, base string) *load {
	tb.Helper()
	l := &load{
		tb: tb, limiter: rate.NewLimiter(maxRate, callers), stopped: make(chan struct{}),
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

// report reports a conversation until it is answered 2xx. It returns false when the load stops.
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

// setTarget makes the callers report to another webhook.
func (l *load) setTarget(base string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.base = base
}

// count counts an answer and reports whether it was 2xx.
func (l *load) count(id string, status int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	if status != http.StatusAccepted && status != http.StatusOK {
		l.refused[status]++
		return false
	}
	l.accepted = append(l.accepted, id)
	if !l.last.IsZero() {
		l.gap = max(l.gap, time.Since(l.last))
	}
	l.last = time.Now()
	return true
}

// await waits until a condition holds. The condition may read the counts.
func (l *load) await(what string, holds func() bool) {
	l.tb.Helper()
	deadline := time.NewTimer(roomlinktest.Timeout)
	defer deadline.Stop()
	for {
		l.mu.Lock()
		done, changed := holds(), l.changed
		accepted, refused := len(l.accepted), fmt.Sprint(l.refused)
		l.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			l.tb.Fatalf("waiting for %s: got %d events accepted, refused by status %s", what, accepted, refused)
		}
	}
}

// awaitAccepted waits until the given number of further events are answered 2xx.
func (l *load) awaitAccepted(more int) {
	l.tb.Helper()
	l.mu.Lock()
	want := len(l.accepted) + more
	l.mu.Unlock()
	l.await(fmt.Sprintf("%d events", more), func() bool { return len(l.accepted) >= want })
}

// awaitRefused waits until the given number of further events are answered with a status.
func (l *load) awaitRefused(status, more int) {
	l.tb.Helper()
	l.mu.Lock()
	want := l.refused[status] + more
	l.mu.Unlock()
	l.await(fmt.Sprintf("%d answers of %d", more, status), func() bool { return l.refused[status] >= want })
}

// longestGap returns the longest time without a 2xx since its last call.
func (l *load) longestGap() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	gap := l.gap
	l.gap = 0
	return gap
}

// stop waits for every caller and returns the events that were answered 2xx.
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
		l.tb.Fatalf("waiting for the callers: got statuses %v, want 2xx", l.statuses())
	}
	return l.answered()
}

// answered returns the events that were answered 2xx so far.
func (l *load) answered() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

func (l *load) statuses() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.refused)
}
