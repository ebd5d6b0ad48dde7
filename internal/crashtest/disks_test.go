package crashtest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
)

// needs skips a test for want of root or of a program.
func needs(tb testing.TB, programs ...string) {
	tb.Helper()
	if os.Geteuid() != 0 {
		programtest.Skipf(tb, "only root may do this")
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			programtest.Skipf(tb, "%s is not there", program)
		}
	}
}

// try runs a program to its end.
func try(tb testing.TB, name string, args ...string) (printed string, err error) {
	tb.Helper()
	output, err := exec.CommandContext(roomlinktest.Context(tb), name, args...).CombinedOutput()
	return string(output), err
}

// must is like try, and wants it to work.
func must(tb testing.TB, name string, args ...string) {
	tb.Helper()
	if printed, err := try(tb, name, args...); err != nil {
		tb.Fatalf("running %s %q: %v\n%s", name, args, err, printed)
	}
}

// mount mounts a file system for the length of a test, and returns where. A machine
// that does not let even root do that has the test skipped.
func mount(tb testing.TB, args ...string) (dir string) {
	tb.Helper()
	dir = filepath.Join(tb.TempDir(), "mnt")
	if err := os.Mkdir(dir, 0o700); err != nil {
		tb.Fatalf("making a directory: %v", err)
	}
	if printed, err := try(tb, "mount", append(args, dir)...); err != nil {
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
