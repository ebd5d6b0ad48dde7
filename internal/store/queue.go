package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

// Depth returns the number of an account's events in the queue, including those that a
// worker holds, and the age of the oldest one at the time now. An account without a
// consumer has none. Its errors are the broker's.
func (s *Store) Depth(ctx context.Context, account string, now time.Time) (uint64, time.Duration, error) {
	consumer, err := s.js.Consumer(ctx, messages.ConversationsStream, ConsumerName(account))
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("measuring the queue of %q: %w", account, s.explain(err))
	}
	depth := depthOf(consumer.CachedInfo())
	if depth == 0 {
		return 0, 0, nil
	}
	oldest, err := s.nextEvent(ctx, account, 1)
	if errors.Is(err, messages.ErrNotFound) {
		return 0, 0, nil // a worker finished the last one meanwhile
	}
	if err != nil {
		return 0, 0, fmt.Errorf("measuring the queue of %q: %w", account, s.explain(err))
	}
	return depth, max(now.Sub(oldest.Time), 0), nil
}

// Consumer is the durable consumer of an account.
type Consumer struct {
	Account string
	// Depth is the number of the account's events in the queue, including those that a
	// worker holds.
	Depth uint64
	// Pulls is the number of pulls that wait at the consumer.
	Pulls int
}

// Consumers returns the consumers of all accounts, also of those without configuration.
// The broker sends hundreds of them at a time. Its errors are the broker's.
func (s *Store) Consumers(ctx context.Context) ([]Consumer, error) {
	stream, err := s.js.Stream(ctx, messages.ConversationsStream)
	if err != nil {
		return nil, fmt.Errorf("listing the consumers: %w", err)
	}
	var all []Consumer
	listed := stream.ListConsumers(ctx)
	for info := range listed.Info() {
		if account, ours := strings.CutPrefix(info.Name, consumerPrefix); ours {
			all = append(all, Consumer{account, depthOf(info), info.NumWaiting})
		}
	}
	if err := listed.Err(); err != nil {
		return nil, fmt.Errorf("listing the consumers: %w", err)
	}
	return all, nil
}

func depthOf(info *jetstream.ConsumerInfo) uint64 {
	return info.NumPending + uint64(max(info.NumAckPending, 0))
}

// RemoveConsumer deletes the consumer of an account. Events of the account stay in the
// queue, and a worker that still serves the account makes the consumer again. It returns an
// error that wraps [ErrNotPermitted] if the user may not do that. Other errors are the
// broker's.
func RemoveConsumer(ctx context.Context, js jetstream.JetStream, account string) error {
	err := unlessRefused(ctx, js.Conn(), func(ctx context.Context) error {
		return js.DeleteConsumer(ctx, messages.ConversationsStream, ConsumerName(account))
	})
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("removing consumer %q: %w", ConsumerName(account), err)
	}
	return nil
}

// nextEvent returns the first event of an account at or after a sequence. It returns
// [messages.ErrNotFound] if there is none.
func (s *Store) nextEvent(ctx context.Context, account string, from uint64) (jetstream.RawStreamMsg, error) {
	return readLeader(ctx, s.js, messages.ConversationsStream,
		query{NextBySubject: messages.EventSubjects + account + ".*", Sequence: max(from, 1)})
}

// EventTime returns the time at which the event with a sequence was stored. It returns an error
// that wraps [messages.ErrNotFound] if the queue, or the event in it, does not exist. Other errors
// are the broker's.
func (s *Store) EventTime(ctx context.Context, sequence uint64) (time.Time, error) {
	m, err := readLeader(ctx, s.js, messages.ConversationsStream, query{Sequence: sequence})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		err = messages.ErrNotFound
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading event %d: %w", sequence, s.explain(err))
	}
	return m.Time, nil
}

// NextStuck returns the first stuck event of an account at or after a sequence. A
// stuck event is still in the queue although its consumer counts it as acknowledged:
// the broker delivers it to nobody, and it blocks the conversation's next event. One
// appeared after a disk had been full (nats-server 2.15). NextStuck returns
// [messages.ErrNotFound] if there is none. Other errors are the broker's.
func (s *Store) NextStuck(ctx context.Context, account string, from uint64) (*jetstream.RawStreamMsg, error) {
	consumer, err := s.js.Consumer(ctx, messages.ConversationsStream, ConsumerName(account))
	if err != nil {
		return nil, fmt.Errorf("looking for stuck events of %q: %w", account, s.explain(err))
	}
	m, err := s.nextEvent(ctx, account, from)
	if errors.Is(err, messages.ErrNotFound) || err == nil && m.Sequence > consumer.CachedInfo().AckFloor.Stream {
		return nil, messages.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("looking for stuck events of %q: %w", account, s.explain(err))
	}
	return &m, nil
}

// RemoveStuck deletes a stuck event. Its errors are the broker's; somebody else may
// have deleted the event already.
func (s *Store) RemoveStuck(ctx context.Context, sequence uint64) error {
	stream, err := s.js.Stream(ctx, messages.ConversationsStream)
	if err == nil {
		err = stream.DeleteMsg(ctx, sequence)
	}
	if err != nil {
		return fmt.Errorf("removing a stuck event: %w", s.explain(err))
	}
	return nil
}
