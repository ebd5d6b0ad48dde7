package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// The states of the breaker in the metric.
const (
	closed   = 0
	halfOpen = 1
	open     = 2
)

// minProbeDelay is the shortest delay of an open breaker: 3 s less the jitter.
const minProbeDelay = 2400 * time.Millisecond

// call is a running call. The test decides how it ends.
type call struct {
	request auvious.RoomRequest
	at      time.Time
	end     chan<- error
}

// succeed makes the room.
func (c call) succeed() { c.end <- nil }

// fail ends the call with [auvious.ErrNotDone].
func (c call) fail() { c.end <- &auvious.CallError{Kind: auvious.ErrNotDone, Detail: "invented"} }

// controlled returns a facade that sends each call to the channel and waits for its end.
func controlled() (facade, <-chan call) {
	calls := make(chan call)
	return func(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		end := make(chan error, 1)
		select {
		case calls <- call{request, time.Now(), end}:
		case <-ctx.Done():
			return auvious.Room{}, ctx.Err()
		}
		select {
		case err := <-end:
			if err != nil {
				return auvious.Room{}, err
			}
			return roomOf(request), nil
		case <-ctx.Done():
			return auvious.Room{}, ctx.Err()
		}
	}, calls
}

// awaitBreaker waits until the breaker of [account] is in a state. The worker logs every change after the metric shows
// it.
func (r *running) awaitBreaker(state float64) {
	r.harness.tb.Helper()
	for {
		line := r.log.Next()
		if r.metric("roomlink_breaker_state", "account", account) == state {
			return
		}
		roomlinktest.Receive(r.harness.tb, line, fmt.Sprintf("a breaker in state %v", state))
	}
}

// TestBreaker: the breaker opens after ten failures in a row. While it is open, there are no calls. Then one call
// probes. After a probe succeeds, the other calls follow.
func TestBreaker(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it waits for a breaker to close")
	const events, threshold = 25, 10
	h := newHarness(t)
	for i := range events {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	f, calls := controlled()
	// One call at a time, so that no call runs when the breaker opens.
	r := h.start(worker.Config{Accounts: []worker.Account{configured(account, f, concurrency(1))}})
	var failed time.Time
	for range threshold {
		c := roomlinktest.Receive(t, calls, "a call")
		r.wantMetric(closed, "roomlink_breaker_state")
		failed = time.Now()
		c.fail()
	}
	for _, probeEnds := range []func(call){call.fail, call.succeed} {
		r.awaitBreaker(open)
		probe := roomlinktest.Receive(t, calls, "a probe")
		if got := probe.at.Sub(failed); got < minProbeDelay {
			t.Errorf("a probe: got it %v after the last failure, want at least %v", got, minProbeDelay)
		}
		r.wantMetric(halfOpen, "roomlink_breaker_state")
		failed = time.Now()
		probeEnds(probe)
	}
	r.awaitBreaker(closed)
	r.wantMetric(threshold+2, "roomlink_facade_calls_total")
	for range events - 1 {
		roomlinktest.Receive(t, calls, "a call").succeed()
	}
	h.wantSettled()
	h.wantMessages(messages.LinksStream, events)
	h.wantMessages(messages.DeadLettersStream, 0)
	r.wantMetric(0, "roomlink_orphans_possible_total")
}

// TestBreakerProbesSingly: the worker pulls one event for a probe, although many slots are free and many events wait.
func TestBreakerProbesSingly(t *testing.T) {
	t.Parallel()
	const events, slots = 40, 4
	h := newHarness(t)
	for i := range events {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	opened := make(chan struct{})
	later, calls := controlled()
	atOnce := fails(auvious.ErrNotDone)
	choosy := facade(func(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		select {
		case <-opened:
			return later(ctx, request)
		default:
			return atOnce(ctx, request)
		}
	})
	r := h.start(worker.Config{Accounts: []worker.Account{configured(account, choosy, concurrency(slots))}})
	r.awaitBreaker(open)
	close(opened)
	probe := roomlinktest.Receive(t, calls, "the probe")
	r.wantMetric(halfOpen, "roomlink_breaker_state")
	r.wantMetric(1, "roomlink_events_in_flight")
	if got := h.consumer().NumWaiting; got != 0 {
		t.Errorf("pulls beside the probe: got %d, want none", got)
	}
	if got := r.metric("roomlink_facade_calls_total"); got > 10+slots {
		t.Errorf("calls until the breaker opened: got %v, want at most ten and the %d that ran", got, slots)
	}
	probe.succeed()
	r.awaitBreaker(closed)
	for range events - 1 {
		roomlinktest.Receive(t, calls, "a call").succeed()
	}
	h.wantSettled()
}

// TestAccountRefused: while auvious refuses the credentials, the events wait. They get their links after the
// credentials are right again.
func TestAccountRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		spoil func(*simulator.Simulator)
		mend  func(*simulator.Simulator)
	}{
		{
			"no token",
			func(s *simulator.Simulator) { s.SetCredentials(simulator.DefaultClientID, "rotated") },
			func(s *simulator.Simulator) {
				s.SetCredentials(simulator.DefaultClientID, simulator.DefaultClientSecret)
			},
		},
		{
			"every token refused",
			func(s *simulator.Simulator) {
				s.Script(func(simulator.Call) *simulator.Answer { return &simulator.Answer{Status: 401} })
			},
			func(s *simulator.Simulator) { s.Script(nil) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const events = 5
			h := newHarness(t)
			s, client := serve(t, simulator.Config{})
			test.spoil(s)
			config := simulatedAccount(client)
			config.Auvious.Concurrency = 1
			r := h.start(worker.Config{Accounts: []worker.Account{config}})
			for i := range events {
				h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
			}
			r.awaitBreaker(open) // after one event
			if got := s.Stats().TokenCalls; got > 2 {
				t.Errorf("token calls until the breaker opened: got %d, want at most 2", got)
			}
			h.wantMessages(messages.ConversationsStream, events)
			h.wantMessages(messages.DeadLettersStream, 0)
			test.mend(s)
			for i := range events {
				h.links(fmt.Sprintf("call-%d", i))
			}
			h.wantSettled()
			h.wantMessages(messages.LinksStream, events)
			h.wantMessages(messages.DeadLettersStream, 0)
			r.wantMetric(closed, "roomlink_breaker_state")
			r.wantLine(`"breaker":"open"`, `"error":"auvious gave the account no access: `)
			if stats := s.Stats(); stats.RoomsMade != events || stats.Doubles != 0 {
				t.Errorf("rooms: got %d with %d made twice, want %d", stats.RoomsMade, stats.Doubles, events)
			}
		})
	}
}

// wantLine checks that a line of the log contains all parts.
func (r *running) wantLine(parts ...string) {
	r.harness.tb.Helper()
	for line := range strings.Lines(r.log.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			return
		}
	}
	r.harness.tb.Errorf("log: got no line with %q\n%s", parts, r.log)
}

// TestRejectionsKeepTheBreakerClosed: auvious works if it rejects requests.
func TestRejectionsKeepTheBreakerClosed(t *testing.T) {
	t.Parallel()
	const events = 30
	h := newHarness(t)
	r := h.startWith(fails(auvious.ErrRejected))
	for i := range events {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	h.wantSettled()
	h.wantMessages(messages.DeadLettersStream, events)
	r.wantMetric(closed, "roomlink_breaker_state")
	r.wantMetric(events, "roomlink_facade_calls_total", "outcome", "rejected")
}
