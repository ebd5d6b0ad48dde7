package load

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// heartbeatInterval is how often the broker tells a subscriber that it is there.
	heartbeatInterval = 2 * time.Second
	// resubscribeDelay is the delay before each attempt to subscribe again.
	resubscribeDelay = 200 * time.Millisecond
)

// subscriber watches a stream as a subscriber to links does, with an ordered consumer. It calls fn with the
// subject of every message.
type subscriber struct {
	js     jetstream.JetStream
	stream string
	fn     func(subject string)

	// seen is the stream sequence of the last message.
	seen atomic.Uint64
	// skipped counts messages that were replaced before they were delivered.
	skipped atomic.Int64

	stop    context.CancelFunc
	running sync.WaitGroup
}

// subscribe subscribes to a stream. fn sees every message that is stored after subscribe returns. ctx bounds
// the call alone.
func subscribe(ctx context.Context, js jetstream.JetStream, stream string, fn func(string)) (*subscriber, error) {
	s := &subscriber{js: js, stream: stream, fn: fn}
	last, err := s.last(ctx)
	if err != nil {
		return nil, fmt.Errorf("subscribing to %q: %w", stream, err)
	}
	s.seen.Store(last)
	consuming, err := s.consume(ctx)
	if err != nil {
		return nil, fmt.Errorf("subscribing to %q: %w", stream, err)
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.running.Go(func() { s.keep(ctx, consuming) })
	return s, nil
}

// last returns the sequence of the last message in the stream.
func (s *subscriber) last(ctx context.Context) (uint64, error) {
	stream, err := s.js.Stream(ctx, s.stream)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// consume starts to consume the messages that were not seen yet.
func (s *subscriber) consume(ctx context.Context) (jetstream.ConsumeContext, error) {
	consumer, err := s.js.OrderedConsumer(ctx, s.stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.seen.Load() + 1,
	})
	if err != nil {
		return nil, err
	}
	return consumer.Consume(s.take, jetstream.PullHeartbeat(heartbeatInterval),
		jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) {})) // keep handles them
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

// keep subscribes again whenever the consumer closes, as it does when a broker is killed.
func (s *subscriber) keep(ctx context.Context, consuming jetstream.ConsumeContext) {
	for consuming != nil {
		select {
		case <-ctx.Done():
			consuming.Stop()
			<-consuming.Closed()
			return
		case <-consuming.Closed():
			consuming = s.resubscribe(ctx)
		}
	}
}

// resubscribe tries until it consumes again. It returns nil once ctx has ended.
func (s *subscriber) resubscribe(ctx context.Context) jetstream.ConsumeContext {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(resubscribeDelay):
		}
		attempt, cancel := context.WithTimeout(ctx, queryTimeout)
		consuming, err := s.consume(attempt)
		cancel()
		if err == nil {
			return consuming
		}
	}
}

// close ends the subscription and waits until fn is no longer called.
func (s *subscriber) close() {
	s.stop()
	s.running.Wait()
}
