package worker

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/store"
	"roomlink/messages"
)

// sweepInterval is the interval between two sweeps.
const sweepInterval = time.Minute

// sweep finishes the account's stuck events until ctx ends: the broker counts them as acknowledged but still stores them
// (see [store.Store.NextStuck]). Most of them have their links already. A stuck event whose call fails waits for the next
// sweep, or becomes a dead letter. The job under way ends with held at the latest.
func (a *account) sweep(ctx, held context.Context) {
	a.swept = time.Now()
	for from := uint64(1); ctx.Err() == nil; {
		stuck, err := a.nextStuck(ctx, from)
		if errors.Is(err, messages.ErrNotFound) {
			return
		}
		if err != nil {
			a.log.Warn().Err(err).Msg("sweep failed")
			return
		}
		if err := a.finishStuck(ctx, held, stuck); err != nil {
			a.log.Warn().Err(err).Uint64("sequence", stuck.Sequence).Msg("stuck event left for later")
		}
		from = stuck.Sequence + 1
	}
}

func (a *account) nextStuck(ctx context.Context, from uint64) (stuck *jetstream.RawStreamMsg, err error) {
	err = a.shared.inTurn(ctx, func(ctx context.Context) error {
		stuck, err = a.store.NextStuck(ctx, a.Name, from)
		return err
	})
	return stuck, err
}

// finishStuck works on a stuck event as on a first delivery, and then removes it from the stream.
func (a *account) finishStuck(ctx, held context.Context, stuck *jetstream.RawStreamMsg) error {
	j := &job{
		subject: stuck.Subject, data: stuck.Data, began: time.Now(), stopping: ctx.Done(),
		delivery: delivery{storedAt: stuck.Time},
		meta: &jetstream.MsgMetadata{
			Sequence: jetstream.SequencePair{Stream: stuck.Sequence}, NumDelivered: 1, Timestamp: stuck.Time,
		},
	}
	err := j.decode()
	if err == nil {
		var dead bool
		if dead, err = a.hasDeadLetter(held, j); err == nil && !dead {
			err = a.work(held, j)
		}
	}
	// Nobody counts the calls of a stuck event. So its first call of unknown outcome is its last.
	if reason := a.deadLetterReason(err, math.MaxInt, time.Since(stuck.Time)); reason != "" {
		err = a.deadLetter(j, reason, err)
	}
	if err != nil {
		return err
	}
	removing, cancel := context.WithTimeout(held, requestTimeout)
	defer cancel()
	a.log.Warn().Str("token", j.token).Uint64("sequence", stuck.Sequence).Msg("removing a stuck event")
	return a.store.RemoveStuck(removing, stuck.Sequence)
}

// hasDeadLetter reports whether the dead letter of this very event is stored.
func (a *account) hasDeadLetter(ctx context.Context, j *job) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	letter, err := a.store.DeadLetter(ctx, j.event.Data.Conversation, store.Leader)
	if errors.Is(err, messages.ErrNotFound) || errors.Is(err, messages.ErrInvalid) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	original, err := letter.Data.Started()
	return err == nil && original.ID == j.event.ID, nil
}
