package crashtest_test

import (
	"os"
	"path/filepath"
	"testing"

	"roomlink/internal/programtest"
)

// TestPowerFailure simulates a power failure of the disk under load: its file system drops all data
// that is not synced. With ROOMLINK_SYNC=always, no event that was answered 2xx may be lost.
func TestPowerFailure(t *testing.T) {
	t.Parallel()
	requireRoot(t, "mkfs.xfs", "xfs_io", "mount", "umount")
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatalf("making a disk: %v", err)
	}
	if err := os.Truncate(image, 512<<20); err != nil {
		t.Fatalf("making a disk: %v", err)
	}
	mustRun(t, "mkfs.xfs", "-q", image)
	disk := mount(t, "-o", "loop", image)

	auvious, called := startAuvious(t)
	env := environment(t, auvious)
	env["ROOMLINK_DATA_DIR"] = filepath.Join(disk, "data")
	env["ROOMLINK_SYNC"] = "always"
	serve := programtest.Command{Args: []string{"serve"}, Env: env}
	p := programtest.Start(t, serve)
	l := startLoad(t, p.Address("public"))
	for range cuts {
		awaitMoment(t, l, called)
		mustRun(t, "xfs_io", "-x", "-c", "shutdown", disk)
		p.Kill()
		mustRun(t, "umount", disk)
		mustRun(t, "mount", "-o", "loop", image, disk)
		p = programtest.Start(t, serve)
		l.setTarget(p.Address("public"))
	}
	awaitMoment(t, l, called)
	accepted := l.stop()
	drain(t, p)
	reconcile(t, stop(t, p, env), auvious, accepted, cuts*concurrency)
}
