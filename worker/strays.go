package worker

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/store"
	"roomlink/messages"
)

// sweepEvery is how often strays are looked for.
const sweepEvery = time.Minute

// sweep brings strays to their end: events that the broker counts as acknowledged
// and kept all the same. Each is worked on as if it were delivered, and so usually
// finds that its work was done. One that fails is left for the next time.
func (a *account) sweep(ctx context.Context) {
	a.swept = time.Now()
	for from := uint64(1); ctx.Err() == nil; {
		stray, err := a.stray(ctx, from)
		if errors.Is(err, messages.ErrNotFound) {
			return
		}
		if err == nil {
			err = a.finish(ctx, stray)
		}
		if stray == nil {
			a.log.Warn().Err(err).Msg("stuck events not found")
			return
		}
		if err != nil {
			a.log.Warn().Err(err).Uint64("sequence", stray.Sequence).Msg("stuck event left for later")
		}
		from = stray.Sequence + 1
	}
}

func (a *account) stray(ctx context.Context, from uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return a.client.NextStuck(ctx, a.Name, from)
}

// finish works on a stray and takes it out of the queue.
func (a *account) finish(ctx context.Context, stray *jetstream.RawStreamMsg) error {
	j, err := a.read(stray.Subject, stray.Data)
	j.meta = &jetstream.MsgMetadata{
		Sequence: jetstream.SequencePair{Stream: stray.Sequence}, NumDelivered: 1, Timestamp: stray.Time,
	}
	j.past = &past{stored: stray.Time}
	if err == nil && !a.buried(ctx, j) {
		err = a.work(ctx, j)
	}
	// What cannot be read, or was refused for good, is done with as a dead letter.
	if reason := deadReason(err, 0, 0, 0, a.Auvious.GiveUpAfter); reason != "" {
		err = a.bury(j, stray.Data, reason, err)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	a.log.Warn().Str("token", j.token).Uint64("sequence", stray.Sequence).Msg("stray event done with")
	return a.client.RemoveStuck(ctx, stray.Sequence)
}

// buried reports whether the dead letter of this very event is stored.
func (a *account) buried(ctx context.Context, j *job) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	letter, err := a.client.DeadLetter(ctx, j.event.Data.Conversation, store.Leader)
	if err != nil {
		return false
	}
	original, err := letter.Data.Started()
	return err == nil && original.ID == j.event.ID
}
