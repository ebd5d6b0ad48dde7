package crashtest_test

import (
	"os"
	"path/filepath"
	"testing"

	"roomlink/internal/programtest"
)

// TestPowerCut cuts the power of the disk under load: a file system of its own drops
// all that was not synced. With ROOMLINK_SYNC=always nothing that was answered 2xx is
// among it.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	needs(t, "mkfs.xfs", "xfs_io", "mount", "umount")
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatalf("making a disk: %v", err)
	}
	if err := os.Truncate(image, 512<<20); err != nil {
		t.Fatalf("making a disk: %v", err)
	}
	must(t, "mkfs.xfs", "-q", image)
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
		must(t, "xfs_io", "-x", "-c", "shutdown", disk)
		p.Kill()
		must(t, "umount", disk)
		must(t, "mount", "-o", "loop", image, disk)
		p = programtest.Start(t, serve)
		l.aim(p.Address("public"))
	}
	awaitMoment(t, l, called)
	taken := l.stop()
	drain(t, p)
	reconcile(t, stop(t, p, env), auvious, taken, cuts*concurrency)
}
