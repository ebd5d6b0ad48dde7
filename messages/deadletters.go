package messages

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// listBatch is how many dead letters are fetched at a time.
const listBatch = 256

// DeadLetters calls fn with the dead letters of an account, or of all accounts
// if it is empty, from the oldest to the newest of those that are stored when it
// begins. It returns the error of fn, the broker's or the context's. A message
// that breaks the contract is passed over.
func (c *Client) DeadLetters(ctx context.Context, account string, fn func(Stored[DeadLetter]) error) error {
	subject := deadLetterSubjects + ">"
	if account != "" {
		if err := ValidateAccount(account); err != nil {
			return err
		}
		subject = deadLetterSubjects + account + ".*"
	}
	last, err := lastSequence(ctx, c.js, DeadLettersStream)
	if err != nil {
		return fmt.Errorf("listing dead letters: %w", err)
	}
	consumer, err := c.js.OrderedConsumer(ctx, DeadLettersStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject},
		DeliverPolicy:  jetstream.DeliverAllPolicy,
	})
	if err != nil {
		return fmt.Errorf("listing dead letters: %w", err)
	}
	for {
		batch, err := consumer.FetchNoWait(listBatch)
		if err != nil {
			return fmt.Errorf("listing dead letters: %w", err)
		}
		count, err := eachDeadLetter(ctx, batch, last, fn)
		if err != nil {
			return err
		}
		if count == 0 {
			return ctx.Err()
		}
	}
}

// eachDeadLetter calls fn with those of a batch that are not newer than a
// sequence, and counts them all.
func eachDeadLetter(
	ctx context.Context, batch jetstream.MessageBatch, last uint64, fn func(Stored[DeadLetter]) error,
) (int, error) {
	count := 0
	for msg := range batch.Messages() {
		count++
		stored, err := fromMessage[DeadLetter](msg)
		// What fn replays may fail again at once, and must not come round again.
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

// Replay has the event of a dead letter worked on again: it publishes the
// original with one more replay, and then deletes the dead letter. The event
// gets a new time of acceptance and a new message id, made of the dead letter's
// sequence, so repeating a replay that was cut off changes nothing. It returns
// an error that wraps [ErrInvalid] if the original cannot be read, and those of
// [Client.Publish].
func (c *Client) Replay(ctx context.Context, letter Stored[DeadLetter]) (Outcome, error) {
	original, err := letter.Data.Started()
	if err != nil {
		return 0, fmt.Errorf("reading the original event: %w", err)
	}
	event := NewEvent(At(time.Now()), original.Data)
	event.TraceParent = original.TraceParent
	event.Data.Replays++
	id := afterDeadLetter(event.Data.Conversation().MessageID(event.Data.Generation()), letter.Sequence)
	since, err := c.waitingSince(ctx, event.Data.Conversation())
	if err != nil {
		return 0, err
	}
	if !since.IsZero() && !At(since).After(letter.Data.AcceptedAt.Time) {
		return 0, ErrWaiting // the dead event itself, which is on its way out
	}
	outcome := Duplicate
	if since.IsZero() {
		if outcome, err = c.publish(ctx, event, id); err != nil {
			return 0, err
		}
	}
	return outcome, c.Discard(ctx, letter)
}

// Discard deletes a dead letter, unless a newer one has taken its place. One
// that is gone already is no error; its errors are the broker's.
func (c *Client) Discard(ctx context.Context, letter Stored[DeadLetter]) error {
	return purgeUpTo(ctx, c.nc, DeadLettersStream, letter.Subject, letter.Sequence)
}
