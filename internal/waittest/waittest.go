// Package waittest gives tests waits that end. It is for tests alone.
package waittest

import (
	"context"
	"testing"
	"time"
)

// Within bounds every wait. It is long, as machines are slow, and never waited for
// in full unless something is broken.
const Within = 2 * time.Minute

// Limited is the test's context with an end, so that no wait hangs.
func Limited(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Within)
	tb.Cleanup(cancel)
	return ctx
}

// Receive waits for a value, or for the end of a channel. It may be called when the
// test is cleaned up.
func Receive[T any](tb testing.TB, from <-chan T, what string) T {
	tb.Helper()
	deadline := time.NewTimer(Within)
	defer deadline.Stop()
	select {
	case v := <-from:
		return v
	case <-deadline.C:
	}
	tb.Fatalf("waiting for %s: got none, want one", what)
	panic("unreachable")
}
