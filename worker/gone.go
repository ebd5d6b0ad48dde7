package worker

import (
	"context"
	"maps"
	"time"

	"roomlink/internal/store"
)

const (
	// goneInterval is the interval between two looks for the consumers of accounts that are gone.
	goneInterval = 10 * time.Minute
	// goneGrace is the time for which nobody pulls from a consumer before the worker removes it. During a rolling change
	// of the configuration, other processes still serve the account, and each of them pulls all the time.
	goneGrace = time.Hour
)

// goneConsumers are the consumers that nobody seems to need. The keys are their accounts, and the values the times since
// when the worker knows it.
type goneConsumers map[string]time.Time

// removeGone removes the consumers of accounts that are gone until ctx ends.
func (w *Worker) removeGone(ctx context.Context) {
	gone := goneConsumers{}
	for ctx.Err() == nil {
		if err := gone.remove(ctx, w, time.Now()); err != nil && ctx.Err() == nil {
			w.config.Logger.Warn().Err(err).Msg("consumers of removed accounts not removed yet")
		}
		pause(ctx, goneInterval)
	}
}

// remove looks at all consumers at the time now. It removes each that had no account here, no events and no pulls at
// every look during [goneGrace]. A process that serves the account after all makes the consumer again.
func (gone goneConsumers) remove(ctx context.Context, w *Worker, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	consumers, err := w.config.Store.Consumers(ctx)
	if err != nil {
		return err
	}
	idle := goneConsumers{}
	for _, consumer := range consumers {
		if w.serves(consumer.Account) || consumer.Depth > 0 || consumer.Pulls > 0 {
			continue
		}
		since, known := gone[consumer.Account]
		switch {
		case !known:
			idle[consumer.Account] = now
		case now.Sub(since) < goneGrace:
			idle[consumer.Account] = since
		default:
			if err := store.RemoveConsumer(ctx, w.config.Provisioner, consumer.Account); err != nil {
				return err
			}
			w.config.Logger.Info().Str("account", consumer.Account).Msg("consumer of a removed account removed")
		}
	}
	clear(gone)
	maps.Copy(gone, idle)
	return nil
}

// serves reports whether the worker has an account.
func (w *Worker) serves(account string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.accounts[account] != nil
}
