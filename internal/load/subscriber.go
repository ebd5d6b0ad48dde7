package load

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// heartbeatInterval is how often the broker tells a subscriber that it is there.
const heartbeatInterval = 2 * time.Second

// subscriber watches a stream as a subscriber to links does, with an ordered consumer. The consumer survives a
// restart of the broker.
type subscriber struct {
	fn        func(subject string)
	consuming jetstream.ConsumeContext
	// seen is the stream sequence of the last message.
	seen atomic.Uint64
	// skipped counts messages that were replaced before they were delivered.
	skipped atomic.Int64
}

// subscribe calls fn with the subject of every message that is stored after subscribe returns. ctx bounds the
// call alone.
func subscribe(ctx context.Context, js jetstream.JetStream, stream string, fn func(string)) (*subscriber, error) {
	s := &subscriber{fn: fn}
	err := s.start(ctx, js, stream)
	if err != nil {
		return nil, fmt.Errorf("subscribing to %q: %w", stream, err)
	}
	return s, nil
}

func (s *subscriber) start(ctx context.Context, js jetstream.JetStream, stream string) error {
	state, err := streamState(ctx, js, stream)
	if err != nil {
		return err
	}
	s.seen.Store(state.LastSeq)
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: state.LastSeq + 1,
	})
	if err != nil {
		return err
	}
	s.consuming, err = consumer.Consume(s.take, jetstream.PullHeartbeat(heartbeatInterval))
	return err
}

func (s *subscriber) take(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		return // not a message of the stream
	}
	before := s.seen.Swap(meta.Sequence.Stream)
	s.skipped.Add(int64(meta.Sequence.Stream) - int64(before) - 1)
	s.fn(msg.Subject())
}

// close ends the subscription and waits until fn is no longer called. It may be called twice.
func (s *subscriber) close() {
	s.consuming.Stop()
	<-s.consuming.Closed()
}

// streamState returns the state of a stream.
func streamState(ctx context.Context, js jetstream.JetStream, stream string) (jetstream.StreamState, error) {
	found, err := js.Stream(ctx, stream)
	if err != nil {
		return jetstream.StreamState{}, err
	}
	return found.CachedInfo().State, nil
}
