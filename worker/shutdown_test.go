package worker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// TestHeartbeat: an event that is held longer than the broker waits for a sign of
// life is delivered once.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it waits as long as the broker does for an acknowledgement")
	h := newHouse(t)
	beats := h.acksIf(func(a ack) bool { return a.kind == "+WPI" })
	acks := h.acks()
	f, calls := controlled()
	r := h.startWith(f)
	h.publish(roomlinktest.Started("call-1"))
	c := roomlinktest.Receive(t, calls, "the call")
	for time.Since(c.at) <= store.AckWait+time.Second {
		if got, want := roomlinktest.Receive(t, beats, "a sign of life"), (ack{"+WPI", 1, 1}); got != want {
			t.Errorf("sign of life: got %v, want %v", got, want)
		}
	}
	c.succeed()
	wantAck(t, acks, ack{"+ACK", 1, 1})
	h.wantSettled()
	r.mustStop()
	r.wantMetric(1, "roomlink_facade_calls_total")
}

// TestDeliveredAgainWhileHeld: an event that the broker delivers again to whoever
// holds it, as after a step of the clock, is worked on once, and settled by the
// first delivery.
func TestDeliveredAgainWhileHeld(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	acks := h.acksIf(func(a ack) bool { return a.kind == "+ACK" })
	f, calls := controlled()
	r := h.startWith(f)
	h.publish(roomlinktest.Started("call-1"))
	c := roomlinktest.Receive(t, calls, "the call")
	nak := fmt.Sprintf("$JS.ACK.%s.%s.1.1.1.0.0", messages.ConversationsStream, store.ConsumerName(account))
	if err := roomlinktest.Connect(t, h.broker).Conn().Publish(nak, []byte("-NAK")); err != nil {
		t.Fatalf("giving the event back behind the worker's back: %v", err)
	}
	h.await("the second delivery", func() bool {
		return r.metric("roomlink_events_settled_total", "outcome", "already_held") == 1
	})
	c.succeed()
	roomlinktest.Receive(t, acks, "the acknowledgement")
	h.wantSettled()
	r.mustStop()
	r.wantMetric(1, "roomlink_facade_calls_total")
}

// TestStopWithinGrace: a call that is under way finishes, and is settled.
func TestStopWithinGrace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  func(call)
		want ack
	}{
		{"well", call.succeed, ack{"+ACK", 1, 1}},
		{"refused", func(c call) { c.end <- &auvious.CallError{Kind: auvious.ErrRejected} }, ack{"+TERM", 1, 1}},
		{"not done", call.fail, ack{"-NAK", 1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			acks := h.acks()
			f, calls := controlled()
			r := h.startWith(f)
			h.publish(roomlinktest.Started("call-1"))
			c := roomlinktest.Receive(t, calls, "the call")
			r.stop()
			test.end(c)
			wantAck(t, acks, test.want)
			r.mustStop()
			r.wantMetric(1, "roomlink_facade_calls_total")
			r.wantMetric(0, "roomlink_events_in_flight")
		})
	}
}

// TestStopBeforeACall: what waits for a call to end, so that its own can begin, is
// handed back at once by a stop, while the calls that run finish.
func TestStopBeforeACall(t *testing.T) {
	t.Parallel()
	const concurrency = 8 // and one event is held beyond that
	h := newHouse(t)
	handedBack := h.acksIf(func(a ack) bool { return a.kind == "-NAK" })
	acks := h.acksIf(func(a ack) bool { return a.kind == "+ACK" })
	f, calls := controlled()
	r := h.start(worker.Config{Accounts: []worker.Account{configured(account, f, func(rooms *accounts.Rooms) { rooms.Concurrency = concurrency })}})
	var running []call
	for i := range concurrency {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
		running = append(running, roomlinktest.Receive(t, calls, "a call"))
	}
	h.publish(roomlinktest.Started("call-ahead"))
	h.await("the event beyond the calls", func() bool { return r.metric("roomlink_events_in_flight") == concurrency+1 })
	r.stop()
	roomlinktest.Receive(t, handedBack, "the event that is handed back")
	for _, c := range running {
		c.succeed()
		roomlinktest.Receive(t, acks, "an acknowledgement")
	}
	r.mustStop()
	r.wantMetric(concurrency, "roomlink_facade_calls_total")
}

// TestStopAfterGrace: what does not finish is handed back at once, and another
// worker gets it.
func TestStopAfterGrace(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	acks := h.acks()
	f, calls := controlled()
	first := h.start(worker.Config{
		Grace: time.Nanosecond, Accounts: []worker.Account{configured(account, f)},
	})
	h.publish(roomlinktest.Started("call-1"))
	roomlinktest.Receive(t, calls, "the call") // which ends with its context
	first.stop()
	wantAck(t, acks, ack{"-NAK", 1, 1})
	first.mustStop()
	first.wantMetric(1, "roomlink_events_settled_total", "outcome", "handed_back")

	began := time.Now()
	second := h.startWith(makes())
	wantAck(t, acks, ack{"+ACK", 2, 1})
	if got := time.Since(began); got > store.AckWait {
		t.Errorf("the other worker got the event after %v, want it at once", got)
	}
	h.wantSettled()
	second.mustStop()
	second.wantMetric(1, "roomlink_orphans_possible_total", "cause", "redelivery")
}

// TestStopBeforeTheStart: what arrives after the stop is handed back untouched.
func TestStopBeforeTheStart(t *testing.T) {
	t.Parallel()
	const events = 3
	h := newHouse(t)
	for i := range events {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	acks := h.acks()
	f, calls := signalled(makes())
	pulling, stopped := make(chan struct{}), make(chan struct{})
	first := h.start(worker.Config{
		Store: store.New(beforePull{roomlinktest.Connect(t, h.broker), func() {
			close(pulling)
			<-stopped
		}}),
		Accounts: []worker.Account{configured(account, f)},
	})
	roomlinktest.Receive(t, pulling, "the pull")
	first.stop()
	close(stopped)
	seen := map[ack]bool{}
	for range events {
		seen[roomlinktest.Receive(t, acks, "an acknowledgement")] = true
	}
	for sequence := range uint64(events) {
		if want := (ack{"-NAK", 1, sequence + 1}); !seen[want] {
			t.Errorf("acknowledgements: got %v, want %v among them", seen, want)
		}
	}
	first.mustStop()
	first.wantMetric(events, "roomlink_events_settled_total", "outcome", "handed_back")
	if len(calls) != 0 {
		t.Errorf("calls after the stop: got %d, want none", len(calls))
	}
	h.startWith(makes())
	for i := range events {
		h.links(fmt.Sprintf("call-%d", i))
	}
}

// beforePull runs something before every pull.
type beforePull struct {
	jetstream.JetStream
	do func()
}

// CreateOrUpdateConsumer implements [jetstream.JetStream].
func (b beforePull) CreateOrUpdateConsumer(
	ctx context.Context, stream string, config jetstream.ConsumerConfig,
) (jetstream.Consumer, error) {
	consumer, err := b.JetStream.CreateOrUpdateConsumer(ctx, stream, config)
	return pullConsumer{consumer, b.do}, err
}

type pullConsumer struct {
	jetstream.Consumer
	do func()
}

// Fetch implements [jetstream.Consumer].
func (p pullConsumer) Fetch(count int, opts ...jetstream.FetchOpt) (jetstream.MessageBatch, error) {
	p.do()
	return p.Consumer.Fetch(count, opts...)
}

// TestCrash: what a worker held when it vanished is delivered again, and the room
// that it may have made is counted.
func TestCrash(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it waits as long as the broker does for an acknowledgement")
	h := newHouse(t)
	h.publish(roomlinktest.Started("call-1"))
	consumer, err := store.ProvisionConsumer(roomlinktest.Context(t), h.store.JetStream(), account)
	if err != nil {
		t.Fatalf("providing the consumer: %v", err)
	}
	if _, err := consumer.Next(jetstream.FetchContext(roomlinktest.Context(t))); err != nil {
		t.Fatalf("pulling an event: %v", err)
	}
	acks := h.acks()
	r := h.startWith(makes())
	wantAck(t, acks, ack{"+ACK", 2, 1})
	h.wantSettled()
	r.mustStop()
	r.wantMetric(1, "roomlink_orphans_possible_total", "cause", "redelivery")
	r.wantMetric(1, "roomlink_orphans_possible_total")
}
