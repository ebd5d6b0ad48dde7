package broker

import (
	"context"
	"fmt"
	"time"

	"roomlink/internal/backoff"
)

const (
	storeCheckInterval = time.Second
	// minRestartSpace is the free space that a restart needs, in bytes. It is enough for some
	// events.
	minRestartSpace = 1 << 20
)

// restartBackoff is the minimum time between two restarts of a server with a failing store.
var restartBackoff = backoff.Backoff{Min: 5 * time.Second, Max: time.Minute}

// Run watches the connections and the store of the embedded server until the context ends, and
// then returns nil. It returns an error that wraps [ErrClosed] if a connection is closed for
// good.
//
// After a failed write, as on a full disk, the server never writes again, even when there is
// space (seen on nats-server 2.15). Run restarts the server when there is, which recovers
// every acknowledged message. If the restart fails, Run returns an error that wraps
// [ErrStore], and the process must be restarted.
func (b *Broker) Run(ctx context.Context) error {
	if b.embedded == nil {
		select {
		case err := <-b.ended:
			return err
		case <-ctx.Done():
			return nil
		}
	}
	ticker := time.NewTicker(storeCheckInterval)
	defer ticker.Stop()
	r := recovery{embedded: b.embedded}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-b.ended:
			return err
		case <-ticker.C:
		}
		if err := r.check(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("restarting the embedded broker: %w", err)
		}
	}
}

// recovery restarts a server whose store has failed.
type recovery struct {
	*embedded
	// restarted is the time of the last restart. restarts counts the restarts until the store
	// stays healthy.
	restarted time.Time
	restarts  uint64
}

// check restarts the server if its store has failed and the disk is writable again. It returns
// the error of the restart.
func (r *recovery) check(ctx context.Context) error {
	err, failing := r.health(), r.trouble.Load() != nil
	switch {
	case err == nil && failing:
		r.trouble.Store(nil)
		r.log.Info().Msg("store recovered")
		return nil
	case err == nil:
		if time.Since(r.restarted) > restartBackoff.Max {
			r.restarts = 0
		}
		return nil
	case !failing:
		r.trouble.Store(&err)
		r.log.Error().Err(err).Msg("store failed: refusing events until it recovers")
	}
	if time.Since(r.restarted) < restartBackoff.Delay(r.restarts) || !r.writable() {
		return nil
	}
	r.restarted = time.Now()
	r.restarts++
	r.log.Warn().Msg("restarting the embedded broker")
	return r.restart(ctx)
}

// writable reports whether the disk of the data directory has space for a restart.
func (e *embedded) writable() bool { return probe(e.dir, minRestartSpace) == nil }
