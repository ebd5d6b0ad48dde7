package crashtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
)

// requireRoot skips a test that does not run as root or lacks a program.
func requireRoot(tb testing.TB, programs ...string) {
	tb.Helper()
	roomlinktest.SkipIfShort(tb, "it breaks a disk")
	if os.Geteuid() != 0 {
		programtest.Skipf(tb, "this test requires root")
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			programtest.Skipf(tb, "this test requires %s", program)
		}
	}
}

// run runs a program to its end.
func run(tb testing.TB, name string, args ...string) (printed string, err error) {
	tb.Helper()
	output, err := exec.CommandContext(roomlinktest.Context(tb), name, args...).CombinedOutput()
	return string(output), err
}

// mustRun is like run, but fails the test on an error.
func mustRun(tb testing.TB, name string, args ...string) {
	tb.Helper()
	if printed, err := run(tb, name, args...); err != nil {
		tb.Fatalf("running %s %q: %v\n%s", name, args, err, printed)
	}
}

// mount mounts a file system until the test ends and returns its directory. It skips the test on a
// machine where root cannot mount.
func mount(tb testing.TB, args ...string) (dir string) {
	tb.Helper()
	dir = filepath.Join(tb.TempDir(), "mnt")
	if err := os.Mkdir(dir, 0o700); err != nil {
		tb.Fatalf("making a directory: %v", err)
	}
	if printed, err := run(tb, "mount", append(args, dir)...); err != nil {
		programtest.Skipf(tb, "mounting %q: %v\n%s", args, err, printed)
	}
	tb.Cleanup(func() {
		output, err := exec.Command("umount", dir).CombinedOutput()
		if err != nil {
			tb.Errorf("unmounting: %v\n%s", err, output)
		}
	})
	return dir
}
