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

// counted counts the room calls that are under way before it hands them on.
type counted struct {
	next http.Handler
	// called gets a value with every room call.
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

// begin forgets the highest count and the calls so far.
func (c *counted) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.highest = c.now
	for len(c.called) > 0 {
		<-c.called
	}
}

// most is the highest count since then.
func (c *counted) most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.highest
}

// TestOutage has auvious answer 503 for a while, with 200 events a second coming
// in before, meanwhile and until it is found well. Nothing becomes a dead letter, auvious is asked
// little meanwhile, a probe finds it well soon, and then all slots are in use until
// the queue is empty.
//
// It runs alone, or there would not be 200 events a second.
func TestOutage(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it has an outage last for seconds")
	const (
		perSecond   = 200
		concurrency = 64
		threshold   = 10 // failures that open the breaker
	)
	h := newHouse(t)
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
	config := simulated(client)
	config.Auvious.Concurrency = concurrency
	r := h.start(worker.Config{Accounts: []worker.Account{config}})
	stop := h.stream(perSecond)

	for range 3 { // all is well
		roomlinktest.Receive(t, calls.called, "a call")
	}
	mend := faulty(t, s, simulator.Faults{RoomStatus: http.StatusServiceUnavailable})
	r.awaitBreaker(open)
	outage := time.NewTimer(outageLasts)
	t.Cleanup(func() { outage.Stop() })
	<-outage.C
	refused := s.Stats().RoomStatuses[http.StatusServiceUnavailable]
	h.wantMessages(messages.DeadLettersStream, 0)
	calls.begin()
	// The first call finds auvious well, and all others wait until all slots are in use.
	var probed atomic.Bool
	everyone := make(chan struct{})
	s.Script(func(simulator.Call) *simulator.Answer {
		if probed.CompareAndSwap(false, true) {
			return nil
		}
		return &simulator.Answer{Wait: everyone}
	})
	mend()
	mended := time.Now()
	roomlinktest.Receive(t, calls.called, "a probe")
	waited := time.Since(mended)
	backlog := h.consumer()
	r.awaitBreaker(closed)
	events := stop()
	h.await("all slots in use", func() bool { return calls.most() == concurrency })
	close(everyone)
	h.wantDrained(events)
	drained := time.Since(mended)
	r.mustStop()

	// Those until it opened and those under way then; after that one for each delay,
	// and one for the turn of the outage.
	probes := int(outageLasts/leastDelay) + 1
	if most := threshold + concurrency + probes; refused > most {
		t.Errorf("calls in %v of outage: got %d, want at most %d", outageLasts, refused, most)
	}
	if got := r.metric("roomlink_facade_calls_total", "outcome", "not_done"); got < threshold+1 {
		t.Errorf("calls that failed: got %v, want the %d that open the breaker and a probe: within seconds", got, threshold)
	}
	if got := calls.most(); got != concurrency {
		t.Errorf("calls at once after the outage: got %d, want no more than slots: %d", got, concurrency)
	}
	h.wantMessages(messages.LinksStream, uint64(events))
	h.wantMessages(messages.DeadLettersStream, 0)
	if stats := s.Stats(); stats.RoomsMade != events || stats.Doubles != 0 {
		t.Errorf("rooms: got %d with %d made twice, want %d", stats.RoomsMade, stats.Doubles, events)
	}
	r.wantMetric(0, "roomlink_orphans_possible_total")
	t.Logf("%v of outage at %d events a second: %d calls meanwhile, a probe %v after its end with %d events waiting, "+
		"%d events done %v after it", outageLasts, perSecond, refused, waited, backlog.NumPending, events, drained)
}

// stream publishes events until it is stopped, which returns how many.
func (h *house) stream(perSecond rate.Limit) (stop func() int) {
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

// wantDrained waits until all events have their links, however many there are.
func (h *house) wantDrained(events int) {
	h.tb.Helper()
	const atOnce = 2000 // what is waited for with the patience of one thing
	for done := 0; done < events; done += atOnce {
		h.await("links", func() bool {
			stream, err := h.store.JetStream().Stream(roomlinktest.Context(h.tb), messages.LinksStream)
			return err == nil && stream.CachedInfo().State.Msgs >= uint64(done)
		})
	}
	h.wantSettled()
}
