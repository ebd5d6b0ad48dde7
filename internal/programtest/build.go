package programtest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// The programs that [Build] knows, by the path of their package.
const (
	Roomlink   = "roomlink/cmd/roomlink"
	NATSServer = "github.com/nats-io/nats-server/v2"
)

// builds are the programs that were built so far, and where they lie.
type builds struct {
	mu    sync.Mutex
	dir   string
	paths map[string]string
}

// built belongs to the test binary: a program takes seconds to link, and every test
// would wait for its own.
var built = builds{paths: map[string]string{}}

// Main runs the tests and removes the programs that they had built. It returns the
// code to exit with.
func Main(m *testing.M) int {
	code := m.Run()
	built.remove()
	return code
}

// Build returns the path of the program of a package, which may be one of another
// module. It is built when it is first asked for.
func Build(tb testing.TB, pkg string) string {
	tb.Helper()
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
	if withRace && pkg == Roomlink { // the races of others are theirs to find
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
		_ = os.RemoveAll(b.dir) // what stays lies where the system tidies up
	}
}
