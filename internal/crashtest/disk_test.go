package crashtest_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"roomlink/internal/programtest"
)

// TestFullDisk fills the disk under load, and frees it again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	needs(t, "mount", "umount")
	disk := mount(t, "-t", "tmpfs", "-o", "size=32m", "tmpfs")
	testFailingDisk(t, filepath.Join(disk, "data"), func(*programtest.Program) (mend func()) {
		file, err := os.Create(filepath.Join(disk, "filler"))
		if err != nil {
			t.Fatalf("filling the disk: %v", err)
		}
		defer file.Close()
		if _, err := io.Copy(file, zeroes{}); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: got error %v, want %v", err, syscall.ENOSPC)
		}
		return func() {
			if err := os.Remove(file.Name()); err != nil {
				t.Fatalf("freeing the disk: %v", err)
			}
		}
	})
}

// zeroes has no end.
type zeroes struct{}

// Read implements [io.Reader].
func (zeroes) Read(into []byte) (int, error) {
	clear(into)
	return len(into), nil
}

// TestDiskThatFailsToSync has every fsync of the program answer EIO for a while, under
// load.
func TestDiskThatFailsToSync(t *testing.T) {
	t.Parallel()
	needs(t, "strace")
	testFailingDisk(t, t.TempDir(), func(p *programtest.Program) (mend func()) {
		tracer := programtest.Start(t, programtest.Command{Path: "strace", Args: []string{
			"-f", "-p", strconv.Itoa(p.PID()), "-o", os.DevNull, "-e", "trace=fsync,fdatasync",
			"-e", "inject=fsync,fdatasync:error=EIO",
		}})
		tracer.AwaitLog("attached")
		// From here on nothing reaches the disk for sure.
		if got := programtest.Post(t, p.Address("public"), "unsynced"); got.Status/100 == 2 {
			t.Errorf("an event that could not be synced: got %d %q, want no 2xx", got.Status, got.Fields["status"])
		}
		return func() {
			tracer.Stop()
		}
	})
}

// testFailingDisk runs the program on a disk that fails under load and is mended. The
// failure is answered 503 and makes the program unfit to live on, and once it is mended
// all goes on by itself.
func testFailingDisk(t *testing.T, dir string, fail func(*programtest.Program) (mend func())) {
	auvious, _ := startAuvious(t)
	env := environment(t, auvious)
	env["ROOMLINK_DATA_DIR"] = dir
	p := programtest.Start(t, programtest.Command{Args: []string{"serve"}, Env: env})
	l := startLoad(t, p.Address("public"))
	l.awaitTaken(50)
	alive := p.Address("operations") + "/livez"
	if status, text := programtest.Visit(t, alive); status != http.StatusOK {
		t.Fatalf("health: got %d %q, want 200", status, text)
	}

	mend := fail(p)
	l.awaitRefused(http.StatusServiceUnavailable, callers)
	await(t, "a failed check of health", func() bool {
		status, _ := programtest.Visit(t, alive)
		return status == http.StatusServiceUnavailable
	})
	p.AwaitLog(`"cause":"publishing the event: the broker is not healthy`) // from then on nothing is tried
	before := len(l.answered())
	l.awaitRefused(http.StatusServiceUnavailable, callers)
	if after := len(l.answered()); after != before {
		t.Errorf("events answered 2xx while the disk fails: got %d, want none", after-before)
	}
	mend()
	await(t, "health", func() bool {
		status, _ := programtest.Visit(t, alive)
		return status == http.StatusOK
	})
	l.awaitTaken(50)
	taken := l.stop()
	t.Logf("answers but 2xx, by status: %s", l.statuses())
	// An event whose removal failed with the disk stays in the queue for a while, and
	// has its links.
	for _, id := range taken {
		programtest.Ready(t, l.target(), id)
	}
	reconcile(t, stop(t, p, env), auvious, taken, concurrency)
}
