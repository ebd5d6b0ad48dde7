package programtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"roomlink/internal/roomlinktest"
)

// The packages of the programs that tests run.
const (
	Roomlink   = "roomlink/cmd/roomlink"
	NATSServer = "github.com/nats-io/nats-server/v2"
)

// builds contains the paths of the programs, by package.
type builds struct {
	mu    sync.Mutex
	dir   string
	paths map[string]string
}

// built is shared by all tests of a binary, because linking a program takes seconds.
var built = builds{paths: map[string]string{}}

// Main runs the tests, removes the programs that they built, and returns the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	built.remove()
	return code
}

// Build returns the path of the program of a package. The first call builds it. The package may
// belong to another module.
func Build(tb testing.TB, pkg string) string {
	tb.Helper()
	roomlinktest.SkipIfShort(tb, "it builds "+pkg)
	path, err := built.path(tb.Context(), pkg)
	if err != nil {
		tb.Fatalf("building %s: %v", pkg, err)
	}
	return path
}

func (b *builds) path(ctx context.Context, pkg string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if path, ok := b.paths[pkg]; ok {
		return path, nil
	}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "roomlink-programs-")
		if err != nil {
			return "", err
		}
		b.dir = dir
	}
	path := filepath.Join(b.dir, filepath.Base(filepath.Dir(pkg))+"-"+filepath.Base(pkg))
	args := []string{"build", "-o", path}
	if withRace && pkg == Roomlink { // not for programs of other modules
		args = append(args, "-race")
	}
	//nolint:gosec // the package is one of the constants above
	printed, err := exec.CommandContext(ctx, "go", append(args, pkg)...).CombinedOutput()
	if err != nil {
		return "", errors.Join(err, errors.New(string(printed)))
	}
	b.paths[pkg] = path
	return path, nil
}

func (b *builds) remove() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir != "" {
		_ = os.RemoveAll(b.dir) // the system cleans up its temporary directory
	}
}
