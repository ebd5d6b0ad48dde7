package broker

import (
	"context"
	"fmt"
	"time"
)

const (
	// lookEvery is how often the store is looked at.
	lookEvery = time.Second
	// firstRestart and lastRestart bound the time between two restarts of a server
	// whose store fails again.
	firstRestart = 5 * time.Second
	lastRestart  = time.Minute
	// probeSize is how much space a restart wants, in bytes: room for some events.
	probeSize = 1 << 20
)

// Run watches the store of the embedded server until the context ends, and then
// returns nil. After a write that failed, as on a full disk, the server never
// writes again although there is space (seen on nats-server 2.15); so once there
// is, it is restarted, which recovers every acknowledged message. Run returns an
// error that wraps [ErrStore] if that fails: then the process is to be started
// again. Of an external broker it watches nothing.
func (b *Broker) Run(ctx context.Context) error {
	if b.embedded == nil {
		<-ctx.Done()
		return nil
	}
	return b.embedded.watch(ctx)
}

func (e *embedded) watch(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	r := recovery{server: e, wait: firstRestart}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("restarting the embedded broker: %w", err)
		}
	}
}

// recovery is what is known of a store that fails.
type recovery struct {
	server    *embedded
	failing   bool
	restarted time.Time
	// wait is how long after one restart the next may be.
	wait time.Duration
}

// look restarts the server if its store failed and the disk is well. It returns
// the error of a restart.
func (r *recovery) look(ctx context.Context) error {
	err := r.server.health()
	switch {
	case err == nil && r.failing:
		r.failing = false
		r.server.trouble.Store(nil)
		r.server.log.Info().Msg("store is well again")
		return nil
	case err == nil:
		if time.Since(r.restarted) > lastRestart {
			r.wait = firstRestart
		}
		return nil
	case !r.failing:
		r.failing = true
		r.server.trouble.Store(&err)
		r.server.log.Error().Err(err).Msg("store failed: events are refused until it is well")
	}
	if time.Since(r.restarted) < r.wait || !r.server.writable() {
		return nil
	}
	if !r.restarted.IsZero() {
		r.wait = min(2*r.wait, lastRestart)
	}
	r.restarted = time.Now()
	r.server.log.Warn().Msg("restarting the embedded broker")
	return r.server.restart(ctx)
}

// writable reports whether the disk of the data directory takes some more.
func (e *embedded) writable() bool { return probe(e.dir, probeSize) == nil }
