package roomlinktest

import (
	"context"
	"testing"
	"time"
)

// Timeout bounds every wait. It is long, as machines are slow, and never waited for
// in full unless something is broken.
const Timeout = 2 * time.Minute

// Context is the test's context with an end, so that no wait hangs.
func Context(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Timeout)
	tb.Cleanup(cancel)
	return ctx
}

// Receive waits for a value, or for the end of a channel. It may be called when the
// test is cleaned up.
func Receive[T any](tb testing.TB, from <-chan T, what string) T {
	tb.Helper()
	deadline := time.NewTimer(Timeout)
	defer deadline.Stop()
	select {
	case v := <-from:
		return v
	case <-deadline.C:
	}
	tb.Fatalf("waiting for %s: got none, want one", what)
	panic("unreachable")
}
