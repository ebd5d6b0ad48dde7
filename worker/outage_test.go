package worker_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
)

// counted is a handler that counts the running room calls of next.
type counted struct {
	next http.Handler
	// called receives a value with every room call, unless it is full.
	called chan struct{}

	mu           sync.Mutex
	now, highest int
}

// ServeHTTP implements [http.Handler].
func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/security/facades/room" {
		select {
		case c.called <- struct{}{}:
		default:
		}
		c.add(1)
		defer c.add(-1)
	}
	c.next.ServeHTTP(w, r)
}

func (c *counted) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.highest = max(c.highest, c.now)
}

// reset forgets the highest count and the calls so far.
func (c *counted) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.highest = c.now
	for len(c.called) > 0 {
		<-c.called
	}
}

// maxCalls returns the highest count since the last reset.
func (c *counted) maxCalls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.highest
}

// TestOutage: auvious answers 503 for a while. 200 events per second arrive before, during and after the outage, until
// the breaker closes. No event becomes a dead letter. During the outage there are few calls. After it, a probe succeeds
// soon, and all slots are in use until the queue is empty.
//
// The test runs alone. Otherwise it would not reach 200 events per second.
func TestOutage(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it waits for a long outage")
	const (
		perSecond   = 200
		concurrency = 64
		threshold   = 10 // failures that open the breaker
	)
	h := newHarness(t)
	s, err := simulator.New(simulator.Config{Latency: simulator.Constant(100 * time.Millisecond), KeepRequests: -1})
	if err != nil {
		t.Fatalf("making a simulator: %v", err)
	}
	calls := &counted{next: s, called: make(chan struct{}, 1)}
	server := httptest.NewServer(calls)
	t.Cleanup(server.Close)
	client := newClient(t, accounts.Rooms{
		URL: server.URL, ClientID: simulator.DefaultClientID, ClientSecret: secret.String(simulator.DefaultClientSecret),
	})
	config := simulatedAccount(client)
	config.Auvious.Concurrency = concurrency
	r := h.start(worker.Config{Accounts: []worker.Account{config}})
	stop := h.stream(perSecond)

	for range 3 { // before the outage
		roomlinktest.Receive(t, calls.called, "a call")
	}
	mend := faulty(t, s, simulator.Faults{RoomStatus: http.StatusServiceUnavailable})
	r.awaitBreaker(open)
	outage := time.NewTimer(outageDuration)
	t.Cleanup(func() { outage.Stop() })
	<-outage.C
	refused := s.Stats().RoomStatuses[http.StatusServiceUnavailable]
	h.wantMessages(messages.DeadLettersStream, 0)
	calls.reset()
	// The first call succeeds. All others wait until all slots are in use.
	var probed atomic.Bool
	allBusy := make(chan struct{})
	s.Script(func(simulator.Call) *simulator.Answer {
		if probed.CompareAndSwap(false, true) {
			return nil
		}
		return &simulator.Answer{Wait: allBusy}
	})
	mend()
	mended := time.Now()
	roomlinktest.Receive(t, calls.called, "a probe")
	waited := time.Since(mended)
	backlog := h.consumer()
	r.awaitBreaker(closed)
	events := stop()
	roomlinktest.Await(h.tb, "all slots in use", func() bool { return calls.maxCalls() == concurrency })
	close(allBusy)
	h.wantDrained(events)
	drained := time.Since(mended)
	r.mustStop()

	// The calls until the breaker opened, the calls that ran then, and one probe for each delay.
	probes := int(outageDuration/minProbeDelay) + 1
	if limit := threshold + concurrency + probes; refused > limit {
		t.Errorf("calls in %v of outage: got %d, want at most %d", outageDuration, refused, limit)
	}
	if got := r.metric("roomlink_facade_calls_total", "outcome", "not_done"); got < threshold+1 {
		t.Errorf("calls that failed: got %v, want the %d that open the breaker, and a probe", got, threshold)
	}
	if got := calls.maxCalls(); got != concurrency {
		t.Errorf("calls at once after the outage: got %d, want as many as slots: %d", got, concurrency)
	}
	h.wantMessages(messages.LinksStream, uint64(events))
	h.wantMessages(messages.DeadLettersStream, 0)
	if stats := s.Stats(); stats.RoomsMade != events || stats.Doubles != 0 {
		t.Errorf("rooms: got %d with %d made twice, want %d", stats.RoomsMade, stats.Doubles, events)
	}
	r.wantMetric(0, "roomlink_orphans_possible_total")
	t.Logf("%v of outage at %d events a second: %d calls meanwhile, a probe %v after its end with %d events waiting, "+
		"%d events done %v after it", outageDuration, perSecond, refused, waited, backlog.NumPending, events, drained)
}

// stream publishes events at a rate. stop ends that and returns their number.
func (h *harness) stream(perSecond rate.Limit) (stop func() int) {
	ctx, cancel := context.WithCancel(h.tb.Context())
	published := make(chan int, 1)
	go func() {
		limiter, count := rate.NewLimiter(perSecond, 1), 0
		defer func() { published <- count }()
		for ; limiter.Wait(ctx) == nil; count++ {
			if outcome, err := h.store.Publish(context.WithoutCancel(ctx), roomlinktest.Started(fmt.Sprintf("call-%d", count))); err != nil ||
				outcome != store.Accepted {
				h.tb.Errorf("publishing: got %v and error %v, want %v", outcome, err, store.Accepted)
			}
		}
	}()
	stop = sync.OnceValue(func() int {
		cancel()
		return <-published
	})
	h.tb.Cleanup(func() { stop() })
	return stop
}

// wantDrained waits until all events have their links.
func (h *harness) wantDrained(events int) {
	h.tb.Helper()
	const atOnce = 2000 // one timeout for as many events
	for done := 0; done < events; done += atOnce {
		roomlinktest.Await(h.tb, "links", func() bool {
			stream, err := h.store.JetStream().Stream(roomlinktest.Context(h.tb), messages.LinksStream)
			return err == nil && stream.CachedInfo().State.Msgs >= uint64(done)
		})
	}
	h.wantSettled()
}
