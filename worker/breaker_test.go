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

// The breaker as the metric shows it.
const (
	closed   = 0
	halfOpen = 1
	open     = 2
)

// leastDelay is how long an open breaker waits at least: 3 s less its jitter.
const leastDelay = 2400 * time.Millisecond

// call is one that waits to be told how it ends.
type call struct {
	request auvious.RoomRequest
	at      time.Time
	end     chan<- error
}

// succeed has the call make its room.
func (c call) succeed() { c.end <- nil }

// fail has the call fail as one that was not done.
func (c call) fail() { c.end <- &auvious.CallError{Kind: auvious.ErrNotDone, Detail: "invented"} }

// controlled is a facade whose every call waits to be told how it ends.
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

// awaitBreaker waits until the breaker of our account is in a state. Every change
// is logged once the metric shows it.
func (r *running) awaitBreaker(state float64) {
	r.house.tb.Helper()
	for {
		line := r.log.Next()
		if r.metric("roomlink_breaker_state", "account", account) == state {
			return
		}
		roomlinktest.Receive(r.house.tb, line, fmt.Sprintf("a breaker in state %v", state))
	}
}

// TestBreaker: it opens after ten failures in a row, nothing is called while it
// is open, then one call probes, and when that goes well all the others follow.
func TestBreaker(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it waits for a breaker to close")
	const events, threshold = 25, 10
	h := newHouse(t)
	for i := range events {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	f, calls := controlled()
	// One at a time, so that no call is under way when it opens.
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
		if got := probe.at.Sub(failed); got < leastDelay {
			t.Errorf("a probe: got it %v after the failure before, want at least %v", got, leastDelay)
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

// TestBreakerProbesSingly: with many slots free and many events waiting, one
// event is pulled to probe.
func TestBreakerProbesSingly(t *testing.T) {
	t.Parallel()
	const events, slots = 40, 4
	h := newHouse(t)
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
		t.Errorf("calls until the breaker opened: got %v, want at most ten and the %d under way", got, slots)
	}
	probe.succeed()
	r.awaitBreaker(closed)
	for range events - 1 {
		roomlinktest.Receive(t, calls, "a call").succeed()
	}
	h.wantSettled()
}

// TestAccountRefused: credentials that auvious does not take are no event's
// fault. The events wait, and are done once the credentials are right again.
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
			"no token is taken",
			func(s *simulator.Simulator) {
				s.Script(func(simulator.Call) *simulator.Answer { return &simulator.Answer{Status: 401} })
			},
			func(s *simulator.Simulator) { s.Script(nil) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const events = 5
			h := newHouse(t)
			s, client := serve(t, simulator.Config{})
			test.spoil(s)
			config := simulated(client)
			config.Auvious.Concurrency = 1
			r := h.start(worker.Config{Accounts: []worker.Account{config}})
			for i := range events {
				h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
			}
			r.awaitBreaker(open) // by the first event alone
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
			r.wantLine(`"breaker":"open"`, `"error":"auvious refused the account: `)
			if stats := s.Stats(); stats.RoomsMade != events || stats.Doubles != 0 {
				t.Errorf("rooms: got %d with %d made twice, want %d", stats.RoomsMade, stats.Doubles, events)
			}
		})
	}
}

// wantLine wants a line in the log with some parts.
func (r *running) wantLine(parts ...string) {
	r.house.tb.Helper()
	for line := range strings.Lines(r.log.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			return
		}
	}
	r.house.tb.Errorf("log: got no line with %q\n%s", parts, r.log)
}

// TestRefusedEventsKeepTheBreakerClosed: auvious answered, and is well.
func TestRefusedEventsKeepTheBreakerClosed(t *testing.T) {
	t.Parallel()
	const events = 30
	h := newHouse(t)
	r := h.startWith(fails(auvious.ErrRejected))
	for i := range events {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	h.wantSettled()
	h.wantMessages(messages.DeadLettersStream, events)
	r.wantMetric(closed, "roomlink_breaker_state")
	r.wantMetric(events, "roomlink_facade_calls_total", "outcome", "rejected")
}
