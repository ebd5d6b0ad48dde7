package programtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"testing"

	"roomlink/internal/roomlinktest"
)

// The packages of the programs that tests run.
const (
	Roomlink   = "roomlink/cmd/roomlink"
	NATSServer = "github.com/nats-io/nats-server/v2"
)

var (
	// directory makes the directory of the programs. All tests of a binary share it, because
	// linking a program takes seconds.
	directory = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "roomlink-programs-") })
	building  sync.Mutex
)

// Main runs the tests, removes the programs that they built, and returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	if dir, err := directory(); err == nil {
		_ = os.RemoveAll(dir) // the system cleans up its temporary directory
	}
	return code
}

// Build returns the path of the program of a package. The first call builds it. The package may
// belong to another module.
func Build(tb testing.TB, pkg string) string {
	tb.Helper()
	roomlinktest.SkipIfShort(tb, "it builds "+pkg)
	building.Lock()
	defer building.Unlock()
	dir, err := directory()
	if err != nil {
		tb.Fatalf("making a directory for programs: %v", err)
	}
	path := filepath.Join(dir, filepath.Base(filepath.Dir(pkg))+"-"+filepath.Base(pkg))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	args := []string{"build", "-o", path}
	if withRace() && pkg == Roomlink { // not for programs of other modules
		args = append(args, "-race")
	}
	//nolint:gosec // the package is one of the constants above
	printed, err := exec.CommandContext(tb.Context(), "go", append(args, pkg)...).CombinedOutput()
	if err != nil {
		tb.Fatalf("building %s: %v\n%s", pkg, err, printed)
	}
	return path
}

// withRace reports whether the tests run with the race detector.
func withRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
