package messages

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// requestTimeout bounds a request if the context has no deadline.
	requestTimeout = 5 * time.Second
	// pullHeartbeat is the interval at which the broker confirms a pull.
	pullHeartbeat = 5 * time.Second
)

// Subscriber reads links. It needs only the permissions of roomlink's NATS user for
// subscribers. Many goroutines may use a subscriber at once.
type Subscriber struct{ js jetstream.JetStream }

// NewSubscriber returns a subscriber on a connection. The connection stays the
// caller's.
func NewSubscriber(js jetstream.JetStream) *Subscriber { return &Subscriber{js} }

// Links returns the latest links of a conversation. Any replica answers, so the links
// may be stale. Links returns an error that wraps [ErrNotFound] if there are none yet,
// and an error that wraps [ErrInvalid] for an impossible conversation or a message that
// breaks the contract. Other errors are the broker's or the context's. If the context
// has no deadline, Links takes at most 5 s.
func (s *Subscriber) Links(ctx context.Context, conversation Conversation) (Stored[Links], error) {
	if err := conversation.Validate(); err != nil {
		return Stored[Links]{}, err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	m, err := GetDirect(ctx, s.js, LinksStream, conversation.LinksSubject())
	if err != nil {
		return Stored[Links]{}, fmt.Errorf("reading stream %q: %w", LinksStream, err)
	}
	return DecodeStored[Links](m)
}

// WatchOptions configure [Subscriber.Watch].
type WatchOptions struct {
	// FromNow leaves out the links that are stored already.
	FromNow bool
}

// Watch calls fn with the links of an account, one after the other: first the stored
// ones, then the new ones as the broker stores them. It ends when the context ends or
// fn returns an error, and returns that error. Watch survives a restart of the broker
// and skips messages that break the contract. It returns an error that wraps
// [ErrInvalid] for an impossible account. Any other error is the broker's: the watch
// could not begin, or the connection is closed.
func (s *Subscriber) Watch(
	ctx context.Context, account string, options WatchOptions, fn func(Stored[Links]) error,
) error {
	if err := ValidateAccount(account); err != nil {
		return err
	}
	consumer, err := s.consumer(ctx, account, options)
	if err != nil {
		return fmt.Errorf("watching the links of %q: %w", account, err)
	}
	iterator, err := consumer.Messages(jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return fmt.Errorf("watching the links of %q: %w", account, err)
	}
	defer iterator.Stop()
	for {
		msg, err := iterator.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		stored, err := DecodeDelivered[Links](msg)
		if err != nil {
			continue
		}
		if err := fn(stored); err != nil {
			return err
		}
	}
}

// consumer returns an ordered consumer of an account's links. With FromNow the
// consumer starts at a sequence, not at "new". The client may reset a consumer before
// its first message, and a second "new" would miss the links in between. A subscriber
// has no permission to read the stream's last sequence. So a first consumer, at "new",
// reports it.
func (s *Subscriber) consumer(ctx context.Context, account string, options WatchOptions) (jetstream.Consumer, error) {
	config := jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{LinksSubjects + account + ".*"},
		DeliverPolicy:  jetstream.DeliverAllPolicy,
	}
	if options.FromNow {
		probe := config
		probe.DeliverPolicy, probe.InactiveThreshold = jetstream.DeliverNewPolicy, time.Second
		consumer, err := s.js.OrderedConsumer(ctx, LinksStream, probe)
		if err != nil {
			return nil, err
		}
		config.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
		config.OptStartSeq = consumer.CachedInfo().Delivered.Stream + 1
	}
	return s.js.OrderedConsumer(ctx, LinksStream, config)
}
