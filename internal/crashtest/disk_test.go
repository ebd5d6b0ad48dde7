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
	"roomlink/internal/roomlinktest"
)

// TestFullDisk fills the disk under load and frees it again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	requireRoot(t, "mount", "umount")
	disk := mount(t, "-t", "tmpfs", "-o", "size=32m", "tmpfs")
	testFailingDisk(t, filepath.Join(disk, "data"), func(*programtest.Program) (repair func()) {
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

// zeroes is an endless reader.
type zeroes struct{}

// Read implements [io.Reader].
func (zeroes) Read(into []byte) (int, error) {
	clear(into)
	return len(into), nil
}

// TestFailingSync makes every fsync of the program return EIO for a while under load.
func TestFailingSync(t *testing.T) {
	t.Parallel()
	requireRoot(t, "strace")
	testFailingDisk(t, t.TempDir(), func(p *programtest.Program) (repair func()) {
		tracer := programtest.Start(t, programtest.Command{Path: "strace", Args: []string{
			"-f", "-p", strconv.Itoa(p.PID()), "-o", os.DevNull, "-e", "trace=fsync,fdatasync",
			"-e", "inject=fsync,fdatasync:error=EIO",
		}})
		tracer.AwaitLog("attached")
		// From now on no write is safely on the disk.
		if got := programtest.Post(t, p.Address("public"), "unsynced"); got.Status/100 == 2 {
			t.Errorf("an event that cannot be synced: got %d %q, want no 2xx", got.Status, got.Fields["status"])
		}
		return func() {
			tracer.Stop()
		}
	})
}

// testFailingDisk runs the program on a disk that fails under load. While it fails, the program must
// answer 503 and not be ready, but stay alive: no restart would help. After the repair, the program must recover by itself.
func testFailingDisk(t *testing.T, dir string, fail func(*programtest.Program) (repair func())) {
	auvious, _ := startAuvious(t)
	env := environment(t, auvious)
	env["ROOMLINK_DATA_DIR"] = dir
	p := programtest.Start(t, programtest.Command{Args: []string{"serve"}, Env: env})
	l := startLoad(t, p.Address("public"))
	l.awaitAccepted(50)
	ready := p.Address("operations") + "/readyz"
	if status, text := programtest.Visit(t, ready); status != http.StatusOK {
		t.Fatalf("health: got %d %q, want 200", status, text)
	}

	repair := fail(p)
	l.awaitRefused(http.StatusServiceUnavailable, callers)
	roomlinktest.Await(t, "a failed health check", func() bool {
		status, _ := programtest.Visit(t, ready)
		return status == http.StatusServiceUnavailable
	})
	if status, text := programtest.Visit(t, p.Address("operations")+"/livez"); status != http.StatusOK {
		t.Errorf("liveness while the disk fails: got %d %q, want 200", status, text)
	}
	p.AwaitLog(`"cause":"publishing the event: the broker is not healthy`) // from now on the program does not try to store events
	before := len(l.answered())
	l.awaitRefused(http.StatusServiceUnavailable, callers)
	if after := len(l.answered()); after != before {
		t.Errorf("events answered 2xx while the disk fails: got %d, want none", after-before)
	}
	repair()
	roomlinktest.Await(t, "health", func() bool {
		status, _ := programtest.Visit(t, ready)
		return status == http.StatusOK
	})
	l.awaitAccepted(50)
	accepted := l.stop()
	t.Logf("other answers, by status: %s", l.statuses())
	// An event may have links and still be in the queue for a while, if its removal failed.
	for _, id := range accepted {
		programtest.Ready(t, l.target(), id)
	}
	reconcile(t, stop(t, p, env), auvious, accepted, concurrency)
}
