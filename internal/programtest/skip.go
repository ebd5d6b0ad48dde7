package programtest

import (
	"os"
	"testing"
)

// Skipf skips a test that needs something that this machine lacks. With CI=true in the
// environment it fails the test, so that CI runs every test.
func Skipf(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("CI") == "true" && !testing.Short() { //nolint:forbidigo // tests have no settings
		tb.Fatalf(format, args...)
	}
	tb.Skipf(format, args...)
}
