package store

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

// listBatch is the number of dead letters in one fetch.
const listBatch = 256

// DeadLetters calls fn with the dead letters of an account, the oldest first. An empty
// account means all accounts. DeadLetters leaves out the dead letters that somebody
// stores after it began, and the messages that break the contract. It returns an error
// that wraps [messages.ErrInvalid] for an impossible account. Other errors are those of
// fn, the broker or the context.
func (s *Store) DeadLetters(
	ctx context.Context, account string, fn func(messages.Stored[messages.DeadLetter]) error,
) error {
	subject := messages.DeadLetterSubjects + ">"
	if account != "" {
		if err := messages.ValidateAccount(account); err != nil {
			return err
		}
		subject = messages.DeadLetterSubjects + account + ".*"
	}
	state, err := s.StreamState(ctx, messages.DeadLettersStream)
	if err != nil {
		return fmt.Errorf("listing dead letters: %w", s.explain(err))
	}
	consumer, err := s.js.OrderedConsumer(ctx, messages.DeadLettersStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject},
	})
	if err != nil {
		return fmt.Errorf("listing dead letters: %w", s.explain(err))
	}
	for {
		batch, err := consumer.FetchNoWait(listBatch)
		if err != nil {
			return fmt.Errorf("listing dead letters: %w", s.explain(err))
		}
		count, err := eachDeadLetter(ctx, batch, state.LastSeq, fn)
		if err != nil {
			return err
		}
		if count == 0 {
			return ctx.Err()
		}
	}
}

// eachDeadLetter calls fn with the dead letters of a batch up to the sequence last. It
// returns the number of all messages in the batch.
func eachDeadLetter(
	ctx context.Context, batch jetstream.MessageBatch, last uint64,
	fn func(messages.Stored[messages.DeadLetter]) error,
) (int, error) {
	count := 0
	for msg := range batch.Messages() {
		count++
		stored, err := messages.DecodeDelivered[messages.DeadLetter](msg)
		// An event that fn replays may fail again at once. It must not come again here.
		if err != nil || stored.Sequence > last {
			continue
		}
		if err := ctx.Err(); err != nil {
			return count, err
		}
		if err := fn(stored); err != nil {
			return count, err
		}
	}
	if err := batch.Error(); err != nil {
		return count, fmt.Errorf("listing dead letters: %w", err)
	}
	return count, nil
}

// Replay publishes the event of a dead letter again, with one more replay, and then
// deletes the dead letter. The event gets a new time of acceptance and a new message
// id. The message id contains the dead letter's time and sequence, so a second Replay after a
// broken one changes nothing. Replay returns an error that wraps [messages.ErrInvalid]
// if the event is unreadable or names another conversation, and the errors of [Store.Publish].
func (s *Store) Replay(ctx context.Context, letter messages.Stored[messages.DeadLetter]) (Outcome, error) {
	original, err := letter.Data.Started()
	if err != nil {
		return 0, fmt.Errorf("reading the original event: %w", err)
	}
	if original.Data.Conversation != letter.Data.Conversation { // of an event that was damaged
		return 0, fmt.Errorf("%w: the original event names another conversation", messages.ErrInvalid)
	}
	event := messages.NewEvent(messages.At(time.Now()), original.Data)
	event.TraceParent = original.TraceParent
	event.Data.Replays++
	since, err := s.waitingSince(ctx, event.Data.Conversation)
	if err != nil {
		return 0, err
	}
	if !since.IsZero() && !messages.At(since).After(letter.Data.AcceptedAt.Time) {
		return 0, ErrWaiting // the dead event itself is still in the queue
	}
	outcome := Duplicate
	if since.IsZero() {
		outcome, err = s.publish(ctx, event, afterDeadLetter(MessageID(event.Data), letter))
		if err != nil {
			return 0, err
		}
	}
	return outcome, s.Discard(ctx, letter)
}

// Discard deletes a dead letter, unless a newer one replaced it. A missing dead letter
// is no error. Its errors are the broker's.
func (s *Store) Discard(ctx context.Context, letter messages.Stored[messages.DeadLetter]) error {
	stream, err := s.js.Stream(ctx, messages.DeadLettersStream)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(letter.Subject), jetstream.WithPurgeSequence(letter.Sequence+1))
	}
	if err != nil {
		return fmt.Errorf("deleting a dead letter: %w", s.explain(err))
	}
	return nil
}
