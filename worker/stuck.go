package worker

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/store"
	"roomlink/messages"
)

// sweepInterval is the interval between two sweeps.
const sweepInterval = time.Minute

// sweep finishes the account's stuck events: the broker counts them as acknowledged but still stores them (see
// [store.Store.NextStuck]). Most of them have their links already. A stuck event that fails waits for the next sweep.
func (a *account) sweep(ctx context.Context) {
	a.swept = time.Now()
	for from := uint64(1); ctx.Err() == nil; {
		stuck, err := a.nextStuck(ctx, from)
		if errors.Is(err, messages.ErrNotFound) {
			return
		}
		if err != nil {
			a.log.Warn().Err(err).Msg("stuck events not found")
			return
		}
		if err := a.finishStuck(ctx, stuck); err != nil {
			a.log.Warn().Err(err).Uint64("sequence", stuck.Sequence).Msg("stuck event left for later")
		}
		from = stuck.Sequence + 1
	}
}

func (a *account) nextStuck(ctx context.Context, from uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return a.store.NextStuck(ctx, a.Name, from)
}

// finishStuck works on a stuck event as on a first delivery, and then removes it from the stream.
func (a *account) finishStuck(ctx context.Context, stuck *jetstream.RawStreamMsg) error {
	j := &job{
		subject: stuck.Subject, data: stuck.Data, began: time.Now(),
		meta: &jetstream.MsgMetadata{
			Sequence: jetstream.SequencePair{Stream: stuck.Sequence}, NumDelivered: 1, Timestamp: stuck.Time,
		},
	}
	err := j.decode()
	if err == nil && !a.hasDeadLetter(ctx, j) {
		err = a.work(ctx, j)
	}
	if p := policyOf(err); p.when == atOnce {
		err = a.deadLetter(j, p.reason, err)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	a.log.Warn().Str("token", j.token).Uint64("sequence", stuck.Sequence).Msg("removing a stuck event")
	return a.store.RemoveStuck(ctx, stuck.Sequence)
}

// hasDeadLetter reports whether the dead letter of this very event is stored.
func (a *account) hasDeadLetter(ctx context.Context, j *job) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	letter, err := a.store.DeadLetter(ctx, j.event.Data.Conversation, store.Leader)
	if err != nil {
		return false
	}
	original, err := letter.Data.Started()
	return err == nil && original.ID == j.event.ID
}
