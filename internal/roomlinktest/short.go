package roomlinktest

import "testing"

// SkipIfShort skips a test if the tests run with -short. A test is slow if it starts
// a browser, builds a program, breaks a network or waits for seconds.
func SkipIfShort(tb testing.TB, reason string) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("slow: " + reason)
	}
}
