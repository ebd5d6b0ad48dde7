package programtest

import (
	"os"
	"testing"
)

// Absentf skips a test for want of something that this machine does not have and CI
// does: there it fails, so that nothing is left out unnoticed.
func Absentf(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("CI") == "true" { //nolint:forbidigo // a test is a program of its own
		tb.Fatalf(format, args...)
	}
	tb.Skipf(format, args...)
}
