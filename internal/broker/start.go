package broker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"roomlink/internal/storecheck"
)

const (
	// startTimeout bounds how long the embedded server may take to recover its store.
	startTimeout = 10 * time.Minute
	// inspectTimeout bounds the check of the store before that. What it does not reach is left
	// unchecked.
	inspectTimeout = 2 * time.Minute
	// endTimeout bounds the wait for a recovery that shall end.
	endTimeout    = 3 * time.Second
	watchInterval = 50 * time.Millisecond
)

// The memory of a recovery is bounded by minStartMemory and maxStoreFactor times the size of the
// store. A usual one needs less than the store takes on the disk.
const (
	minStartMemory = 1 << 30
	maxStoreFactor = 4
)

// errNotEnded means that the server still recovers its store. Nothing can end that but the end of
// the process.
var errNotEnded = errors.New("the recovery of the store has not ended")

// Findings returns what the check of the store found at the start; nil for an external broker.
func (b *Broker) Findings() *storecheck.Findings {
	if b.embedded == nil {
		return nil
	}
	return b.embedded.findings
}

// checkStore finds and repairs damage before the server reads the store. Damage that appears
// between two servers of one process needs a start of the process, which settles what is lost.
func (e *embedded) checkStore(ctx context.Context) (*storecheck.Findings, error) {
	if err := storecheck.CheckRights(e.dir); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	inspecting, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	found, err := storecheck.Inspect(inspecting, e.dir, func(p storecheck.Progress) {
		e.progressf("checking block %d of %d of stream %s", p.Number, p.Of, p.Stream)
	})
	if err != nil {
		return nil, fmt.Errorf("checking the store: %w", err)
	}
	switch {
	case e.current.Load() == nil:
		e.findings = found
	case found.Damaged():
		return nil, fmt.Errorf("%w: it is damaged: start the program again to repair it", ErrStore)
	}
	return found, found.Repair(e.log)
}

func (e *embedded) progressf(format string, v ...any) {
	if e.config.OnProgress != nil {
		e.config.OnProgress(fmt.Sprintf(format, v...))
	}
}

// recover starts a server, which recovers its store, and stops it after an error. A recovery that
// takes too much time or memory is given up with an error that wraps ErrStore and errNotEnded.
func (e *embedded) recover(
	ctx context.Context, srv *server.Server, log *serverLog, found *storecheck.Findings,
) error {
	started := make(chan struct{})
	go func() { // it ends with the recovery, or with the process
		defer close(started)
		srv.Start()
	}()
	err := e.watch(ctx, started, log, limits{
		memory: minStartMemory + maxStoreFactor*uint64(max(found.Bytes(), 0)), time: startTimeout,
	})
	if err == nil {
		err = waitForStore(ctx, srv, log, e.config)
	}
	if err == nil {
		return nil
	}
	select {
	case <-started:
		stopServer(srv)
		return err
	case <-time.After(endTimeout):
		return fmt.Errorf("%w (%w)", err, errNotEnded)
	}
}

// limits bound a recovery.
type limits struct {
	memory uint64
	time   time.Duration
}

// watch waits for the end of the server's start. It returns an error for a start beyond the
// limits.
func (e *embedded) watch(ctx context.Context, started <-chan struct{}, log *serverLog, limits limits) error {
	began := time.Now()
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-started:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if fault := log.fatal.Load(); fault != nil {
			return startError(*fault, e.config)
		}
		if streams := log.recovers(); len(streams) > 0 {
			e.progressf("recovering stream %s, for %v", strings.Join(streams, " and "), time.Since(began).Round(time.Second))
		}
		if used := heap(); used > limits.memory {
			return fmt.Errorf("%w: its recovery takes more than %d MiB of memory: %s", ErrStore, limits.memory>>20, e.suspect(log))
		}
		if time.Since(began) > limits.time {
			return fmt.Errorf("%w: its recovery takes more than %v: %s", ErrStore, limits.time, e.suspect(log))
		}
	}
}

// suspect names the files of the stream that the server recovers, and says what to do.
func (e *embedded) suspect(log *serverLog) string {
	path := filepath.Join(e.dir, "jetstream")
	var paths []string
	for _, stream := range log.recovers() {
		paths = append(paths, filepath.Join(path, "*", "streams", stream, "msgs"))
	}
	if len(paths) > 0 {
		path = strings.Join(paths, " and ")
	}
	return fmt.Sprintf("look at %s with \"roomlink store check\", and restore it from a copy", path)
}

// heap returns the memory of live and dead objects, in bytes.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
