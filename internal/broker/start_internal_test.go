package broker

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestRecoveryLimits: a recovery that takes too much memory or time is given up, and the stream is
// named.
func TestRecoveryLimits(t *testing.T) {
	t.Parallel()
	log := &serverLog{}
	log.Noticef("  Starting restore for stream '%s > %s'", "ROOMLINK", "ROOMLINK_CONVERSATIONS")
	log.Noticef("  Starting restore for stream '%s > %s'", "ROOMLINK", "ROOMLINK_LINKS")
	log.Noticef("  Restored %s messages for stream '%s > %s' in %v", "0", "ROOMLINK", "ROOMLINK_CONVERSATIONS", time.Second)
	e := &embedded{dir: "data"}
	for want, limits := range map[string]limits{
		"more than 0 MiB of memory": {memory: 1, time: time.Hour},
		"more than 1ns":             {memory: 1 << 60, time: 1},
	} {
		err := e.watch(t.Context(), nil, log, limits)
		if !errors.Is(err, ErrStore) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "streams/ROOMLINK_LINKS") {
			t.Errorf("got error %v, want %v that contains %q and the stream", err, ErrStore, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.watch(ctx, nil, log, limits{memory: 1 << 60, time: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("after a stop: got error %v, want %v", err, context.Canceled)
	}
}
