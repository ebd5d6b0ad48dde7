package worker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// TestKeepalive: the broker delivers an event once, although a job holds it longer than the ack wait.
func TestKeepalive(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it waits for the ack wait of the broker")
	h := newHarness(t)
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

// TestDeliveredAgainWhileHeld: the broker delivers a held event again to the same worker, as after a step of the clock.
// The worker works on it once, and settles it by the first delivery.
func TestDeliveredAgainWhileHeld(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	acks := h.acksIf(func(a ack) bool { return a.kind == "+ACK" })
	f, calls := controlled()
	r := h.startWith(f)
	h.publish(roomlinktest.Started("call-1"))
	c := roomlinktest.Receive(t, calls, "the call")
	nak := fmt.Sprintf("$JS.ACK.%s.%s.1.1.1.0.0", messages.ConversationsStream, store.ConsumerName(account))
	if err := roomlinktest.Connect(t, h.broker).Conn().Publish(nak, []byte("-NAK")); err != nil {
		t.Fatalf("publishing a NAK in place of the worker: %v", err)
	}
	roomlinktest.Await(h.tb, "the second delivery", func() bool {
		return r.metric("roomlink_events_settled_total", "outcome", "already_held") == 1
	})
	c.succeed()
	roomlinktest.Receive(t, acks, "the acknowledgement")
	h.wantSettled()
	r.mustStop()
	r.wantMetric(1, "roomlink_facade_calls_total")
}

// TestStopWithinGrace: a running call ends within the grace time, and the worker settles its event.
func TestStopWithinGrace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  func(call)
		want ack
	}{
		{"created", call.succeed, ack{"+ACK", 1, 1}},
		{"rejected", func(c call) { c.end <- &auvious.CallError{Kind: auvious.ErrRejected} }, ack{"+TERM", 1, 1}},
		{"not done", call.fail, ack{"-NAK", 1, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
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

// TestStopBeforeACall: a stop hands an event that waits for its call back at once. The running calls end later.
func TestStopBeforeACall(t *testing.T) {
	t.Parallel()
	const limit = 8 // and one more event is held
	h := newHarness(t)
	handedBack := h.acksIf(func(a ack) bool { return a.kind == "-NAK" })
	acks := h.acksIf(func(a ack) bool { return a.kind == "+ACK" })
	f, calls := controlled()
	r := h.start(worker.Config{Accounts: []worker.Account{configured(account, f, concurrency(limit))}})
	var running []call
	for i := range limit {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
		running = append(running, roomlinktest.Receive(t, calls, "a call"))
	}
	h.publish(roomlinktest.Started("call-ahead"))
	roomlinktest.Await(h.tb, "one more event than calls", func() bool { return r.metric("roomlink_events_in_flight") == limit+1 })
	r.stop()
	roomlinktest.Receive(t, handedBack, "the NAK of the waiting event")
	for _, c := range running {
		c.succeed()
		roomlinktest.Receive(t, acks, "an acknowledgement")
	}
	r.mustStop()
	r.wantMetric(limit, "roomlink_facade_calls_total")
}

// TestStopAfterGrace: after the grace time, the worker hands an event back at once, and another worker gets it.
func TestStopAfterGrace(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	acks := h.acks()
	f, calls := controlled()
	first := h.start(worker.Config{
		Grace: time.Nanosecond, Accounts: []worker.Account{configured(account, f)},
	})
	h.publish(roomlinktest.Started("call-1"))
	roomlinktest.Receive(t, calls, "the call") // it ends with its context
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

// TestStopDuringAPull: the worker hands back events that arrive after the stop, without a call.
func TestStopDuringAPull(t *testing.T) {
	t.Parallel()
	const events = 3
	h := newHarness(t)
	for i := range events {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	acks := h.acks()
	f, calls := recorded(makes())
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

// beforePull is a connection that calls do before every pull.
type beforePull struct {
	jetstream.JetStream
	do func()
}

// Consumer implements [jetstream.JetStream].
func (b beforePull) Consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	consumer, err := b.JetStream.Consumer(ctx, stream, name)
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

// TestCrash: the broker delivers an event again after its worker crashed. The second worker counts the room that the
// first may have made as a possible orphan.
func TestCrash(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it waits for the ack wait of the broker")
	h := newHarness(t)
	h.publish(roomlinktest.Started("call-1"))
	consumer, err := store.ProvisionConsumer(roomlinktest.Context(t), h.store.JetStream(), account)
	if err != nil {
		t.Fatalf("provisioning the consumer: %v", err)
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
