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
	// watchHeartbeat is how soon a watch notices that the broker has gone.
	watchHeartbeat = 2 * time.Second
	watchAgain     = 200 * time.Millisecond
)

// subscriber sees every message of a stream as it is stored, as a subscriber to
// links does, by an ordered consumer. It reads the subjects alone.
type subscriber struct {
	js     jetstream.JetStream
	stream string
	fn     func(subject string)

	// seen is the stream's sequence of the last message.
	seen atomic.Uint64
	// skipped counts messages that were replaced before they were delivered.
	skipped atomic.Int64

	stop    context.CancelFunc
	running sync.WaitGroup
}

// subscribe returns once the subscription stands, so that nothing which is stored
// from then on is missed.
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

// last is the sequence of the last message in the stream.
func (s *subscriber) last(ctx context.Context) (uint64, error) {
	stream, err := s.js.Stream(ctx, s.stream)
	if err != nil {
		return 0, err
	}
	return stream.CachedInfo().State.LastSeq, nil
}

func (s *subscriber) consume(ctx context.Context) (jetstream.ConsumeContext, error) {
	consumer, err := s.js.OrderedConsumer(ctx, s.stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.seen.Load() + 1,
	})
	if err != nil {
		return nil, err
	}
	return consumer.Consume(s.take, jetstream.PullHeartbeat(watchHeartbeat),
		jetstream.ConsumeErrHandler(func(jetstream.ConsumeContext, error) {})) // it goes on, or closes
}

func (s *subscriber) take(msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		return // none of the stream's
	}
	before := s.seen.Swap(meta.Sequence.Stream)
	s.skipped.Add(int64(meta.Sequence.Stream) - int64(before) - 1)
	s.fn(msg.Subject())
}

// keep begins again where a consumer ends, as with a broker that is killed.
func (s *subscriber) keep(ctx context.Context, consuming jetstream.ConsumeContext) {
	for {
		if consuming != nil {
			select {
			case <-ctx.Done():
				consuming.Stop()
				<-consuming.Closed()
				return
			case <-consuming.Closed():
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(watchAgain):
		}
		attempt, cancel := context.WithTimeout(ctx, askWithin)
		next, err := s.consume(attempt)
		cancel()
		consuming = next
		if err != nil {
			consuming = nil
		}
	}
}

// close ends the subscription, and returns when it has ended.
func (s *subscriber) close() {
	s.stop()
	s.running.Wait()
}
