package store

import (
	"context"
	"errors"
	"fmt"
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
	info := consumer.CachedInfo()
	depth := info.NumPending + uint64(max(info.NumAckPending, 0))
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
