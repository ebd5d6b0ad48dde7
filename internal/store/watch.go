package store

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

// pullHeartbeat is the interval at which the broker confirms a pull.
const pullHeartbeat = 5 * time.Second

// WatchLinks calls fn with the links of an account, one after the other: first the stored
// ones unless fromNow, then the new ones as the broker stores them. It ends when the
// context ends or fn returns an error, and returns that error. It survives a restart of
// the broker and skips messages that break the contract. It returns an error that wraps
// [messages.ErrInvalid] for an impossible account. Any other error is the broker's: the watch
// could not begin, or the connection is closed.
func (s *Store) WatchLinks(
	ctx context.Context, account string, fromNow bool, fn func(messages.Stored[messages.Links]) error,
) error {
	if err := messages.ValidateAccount(account); err != nil {
		return err
	}
	consumer, err := s.linksConsumer(ctx, account, fromNow)
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
		stored, err := messages.DecodeDelivered[messages.Links](msg)
		if err != nil {
			continue
		}
		if err := fn(stored); err != nil {
			return err
		}
	}
}

// linksConsumer returns an ordered consumer of an account's links. With fromNow it starts
// at a sequence, not at "new": the client may reset a consumer before its first message,
// and a second "new" would miss the links in between.
func (s *Store) linksConsumer(ctx context.Context, account string, fromNow bool) (jetstream.Consumer, error) {
	config := jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{messages.LinksSubjects + account + ".*"},
		DeliverPolicy:  jetstream.DeliverAllPolicy,
	}
	if fromNow {
		state, err := s.StreamState(ctx, messages.LinksStream)
		if err != nil {
			return nil, err
		}
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, state.LastSeq+1
	}
	return s.js.OrderedConsumer(ctx, messages.LinksStream, config)
}
