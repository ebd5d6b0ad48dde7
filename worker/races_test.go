package worker_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// TestRacedLinks: another worker stores links of this or a later generation during the call. Those links stay, and the
// worker counts its own room as a possible orphan.
func TestRacedLinks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name              string
		renews, meanwhile int
	}{
		{"of the same generation", 0, 1},
		{"of a later one", 0, 2},
		{"of the same renewal", 1, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			before := uint64(0)
			if test.renews > 0 {
				before = h.publishLinks(roomlinktest.Links("call-1", test.renews), 0)
			}
			foreign := roomlinktest.Links("call-1", test.meanwhile)
			acks := h.acks()
			r := h.startWith(facade(func(_ context.Context, request auvious.RoomRequest) (auvious.Room, error) {
				h.publishLinks(foreign, before)
				return roomOf(request), nil
			}))
			h.publish(roomlinktest.Renewal("call-1", test.renews))
			if got := roomlinktest.Receive(t, acks, "an acknowledgement"); got.kind != "+ACK" {
				t.Errorf("acknowledgement: got %v, want +ACK", got)
			}
			h.wantSettled()
			r.mustStop()
			if got := h.storedLinks("call-1").ID; got != foreign.ID {
				t.Errorf("links: got %q, want those of the faster worker: %q", got, foreign.ID)
			}
			r.wantMetric(1, "roomlink_orphans_possible_total", "cause", "raced")
			r.wantMetric(1, "roomlink_orphans_possible_total")
		})
	}
}

// TestOlderLinksMeanwhile: the worker replaces links of an earlier generation that were stored during the call. A
// revocation stores such links.
func TestOlderLinksMeanwhile(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]messages.Event[messages.Links]{
		"links": roomlinktest.Links("call-1", 1), "revoked links": roomlinktest.RevokedLinks("call-1", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			r := h.startWith(facade(func(_ context.Context, request auvious.RoomRequest) (auvious.Room, error) {
				h.publishLinks(meanwhile, 0)
				return roomOf(request), nil
			}))
			h.publish(roomlinktest.Renewal("call-1", 1))
			h.wantSettled()
			r.mustStop()
			got := h.storedLinks("call-1").Data
			if got.Generation != 2 || got.AgentURL != "https://auvious.test/agent/call-1" || got.Revoked() {
				t.Errorf("links: got generation %d with %q, want ours of generation 2", got.Generation, got.AgentURL)
			}
			r.wantMetric(0, "roomlink_orphans_possible_total")
			r.wantMetric(1, "roomlink_facade_calls_total")
		})
	}
}

// TestLinksGoneMeanwhile: the worker stores its links although the old links were deleted during the call.
func TestLinksGoneMeanwhile(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.publishLinks(roomlinktest.Links("call-1", 1), 0)
	r := h.startWith(facade(func(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		stream, err := h.store.JetStream().Stream(ctx, messages.LinksStream)
		if err == nil {
			err = stream.Purge(ctx)
		}
		if err != nil {
			t.Errorf("purging the links: %v", err)
		}
		return roomOf(request), nil
	}))
	h.publish(roomlinktest.Renewal("call-1", 1))
	h.wantSettled()
	r.mustStop()
	if got := h.storedLinks("call-1").Data.Generation; got != 2 {
		t.Errorf("generation: got %d, want 2", got)
	}
	r.wantMetric(1, "roomlink_facade_calls_total")
}

// fillLinks returns a facade that makes a room and makes the stream of links full. empty makes space again, and tried
// receives every attempt to store the links of call-1.
func (h *harness) fillLinks() (f facade, empty func(), tried <-chan *nats.Msg) {
	h.tb.Helper()
	js := h.store.JetStream()
	stream, err := js.Stream(roomlinktest.Context(h.tb), messages.LinksStream)
	if err != nil {
		h.tb.Fatalf("opening the stream of links: %v", err)
	}
	usual := stream.CachedInfo().Config
	full := usual
	full.MaxBytes, full.Discard = 1, jetstream.DiscardNew
	attempts := make(chan *nats.Msg, 64)
	if _, err := js.Conn().ChanSubscribe(roomlinktest.Conversation("call-1").LinksSubject(), attempts); err != nil {
		h.tb.Fatalf("watching what is published: %v", err)
	}
	update := func(config jetstream.StreamConfig) {
		if _, err := js.UpdateStream(roomlinktest.Context(h.tb), config); err != nil {
			h.tb.Errorf("changing the stream of links: %v", err)
		}
	}
	return func(_ context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		update(full)
		return roomOf(request), nil
	}, func() { update(usual) }, attempts
}

// TestLinksWaitForTheStream: the worker holds links until it can store them, and makes no second room.
func TestLinksWaitForTheStream(t *testing.T) {
	t.Parallel()
	const attempts = 4
	h := newHarness(t)
	f, empty, tried := h.fillLinks()
	r := h.startWith(f)
	h.publish(roomlinktest.Started("call-1"))
	for range attempts {
		roomlinktest.Receive(t, tried, "an attempt to store the links")
	}
	empty()
	h.wantSettled()
	r.mustStop()
	h.storedLinks("call-1")
	r.wantMetric(1, "roomlink_facade_calls_total")
	r.wantMetric(0, "roomlink_orphans_possible_total")
	if got := strings.Count(r.log.String(), "links not stored yet"); got != 1 {
		t.Errorf("log lines about the links: got %d, want 1", got)
	}
}

// TestStopWhileLinksWait: a stop loses links that cannot be stored. The worker counts them and hands the event back.
func TestStopWhileLinksWait(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	acks := h.acks()
	f, empty, tried := h.fillLinks()
	first := h.start(worker.Config{Grace: time.Nanosecond, Accounts: []worker.Account{configured(account, f)}})
	h.publish(roomlinktest.Started("call-1"))
	roomlinktest.Receive(t, tried, "an attempt to store the links")
	first.stop()
	wantAck(t, acks, ack{"-NAK", 1, 1})
	first.mustStop()
	first.wantMetric(1, "roomlink_orphans_possible_total", "cause", "not_stored")
	empty()
	h.startWith(makes())
	wantAck(t, acks, ack{"+ACK", 2, 1})
	h.storedLinks("call-1")
}

// lossy is a connection that loses the broker's acknowledgements of the first left messages.
type lossy struct {
	jetstream.JetStream
	left atomic.Int32
}

// PublishMsg implements [jetstream.JetStream].
func (l *lossy) PublishMsg(
	ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt,
) (*jetstream.PubAck, error) {
	ack, err := l.JetStream.PublishMsg(ctx, msg, opts...)
	if err == nil && l.left.Add(-1) >= 0 {
		return nil, nats.ErrTimeout
	}
	return ack, err
}

// TestLostPubAck: the acknowledgement of stored links is lost. The worker finds that they are its own, and makes no
// second room.
func TestLostPubAck(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	js := &lossy{JetStream: roomlinktest.Connect(t, h.broker)}
	js.left.Store(1)
	r := h.start(worker.Config{Store: store.New(js), Accounts: []worker.Account{configured(account, makes())}})
	acks := h.acks()
	h.publish(roomlinktest.Started("call-1"))
	wantAck(t, acks, ack{"+ACK", 1, 1})
	h.wantSettled()
	r.mustStop()
	if got := h.storedLinks("call-1").Sequence; got != 1 {
		t.Errorf("links: got those at sequence %d, want the first", got)
	}
	r.wantMetric(1, "roomlink_facade_calls_total")
	r.wantMetric(1, "roomlink_events_settled_total", "outcome", "linked")
	r.wantMetric(0, "roomlink_orphans_possible_total")
}

// TestLostAck: an event comes again after its links are stored, as after a lost acknowledgement. The worker makes no
// call for it. Here the event is published again with a new message id.
func TestLostAck(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	r := h.startWith(makes())
	acks := h.acks()
	for delivery := range 2 {
		h.publishRaw("call-1", roomlinktest.Encode(t, roomlinktest.Started("call-1")))
		wantAck(t, acks, ack{"+ACK", 1, uint64(delivery + 1)})
		h.wantSettled()
	}
	r.mustStop()
	r.wantMetric(1, "roomlink_facade_calls_total")
	r.wantMetric(1, "roomlink_events_settled_total", "outcome", "already_linked")
}

// TestConsumerDeleted: the worker provisions a deleted consumer again.
func TestConsumerDeleted(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	r := h.startWith(makes())
	h.publish(roomlinktest.Started("call-1"))
	h.wantSettled()
	if err := h.store.JetStream().DeleteConsumer(
		roomlinktest.Context(t), messages.ConversationsStream, store.ConsumerName(account),
	); err != nil {
		t.Fatalf("deleting the consumer: %v", err)
	}
	h.publish(roomlinktest.Started("call-2"))
	h.links("call-2")
	roomlinktest.Await(h.tb, "a worker that is ready", func() bool { return r.Ready() == nil })
}
