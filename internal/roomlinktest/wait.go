package roomlinktest

import (
	"context"
	"testing"
	"time"
)

// Timeout bounds every wait. It is long for the sake of slow machines. Only a broken test
// waits that long.
const Timeout = 2 * time.Minute

// pollInterval is the pause between two checks of [Await].
const pollInterval = 10 * time.Millisecond

// SkipIfShort skips a test if the tests run with -short. A test is slow if it starts
// a browser, builds a program, breaks a network or waits for seconds.
func SkipIfShort(tb testing.TB, reason string) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("slow: " + reason)
	}
}

// Context returns the test's context with [Timeout], so that no wait hangs.
func Context(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), Timeout)
	tb.Cleanup(cancel)
	return ctx
}

// Receive waits for a value on a channel, or for the channel to close. what names the
// value in a failure. A cleanup function may call it, too.
func Receive[T any](tb testing.TB, from <-chan T, what string) T {
	tb.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(Timeout):
	}
	tb.Fatalf("waiting for %s: got none in %v, want one", what, Timeout)
	panic("unreachable")
}

// Await polls until a condition holds. what names the condition in a failure. Prefer [Receive]
// if something tells of the change.
func Await(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	ctx, ticker := Context(tb), time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			tb.Fatalf("waiting for %s: got none in %v, want it", what, Timeout)
		}
	}
}
