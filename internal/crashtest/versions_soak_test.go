//go:build soak

package crashtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/programtest"
)

// refusedVersion is the newest version of nats-server that roomlink refuses.
const refusedVersion = "2.11"

// TestNATSVersions runs real NATS servers of several versions, and kills each under load. The
// variable ROOMLINK_NATS_SERVERS names a folder that has them by their version. An old one is
// refused in one sentence.
func TestNATSVersions(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("ROOMLINK_NATS_SERVERS")
	servers, err := filepath.Glob(filepath.Join(folder, "*", "nats-server"))
	if err != nil || folder == "" || len(servers) == 0 {
		programtest.Skipf(t, "ROOMLINK_NATS_SERVERS names no folder with NATS servers; .ci/run long makes one")
	}
	for _, path := range servers {
		version := filepath.Base(filepath.Dir(path))
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			auvious, _ := startAuvious(t)
			address, dir := programtest.FreeAddress(t), t.TempDir()
			config := filepath.Join(dir, "nats.conf")
			text := fmt.Sprintf("listen: %q\njetstream { store_dir: %q, sync_interval: always }\n", address, dir)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatalf("writing the configuration: %v", err)
			}
			command := programtest.Command{Path: path, Args: []string{"-c", config}}
			server := programtest.Start(t, command)
			server.AwaitLog("Server is ready")
			env := environment(t, auvious)
			env["ROOMLINK_NATS_URL"], env["ROOMLINK_REPLICAS"] = "nats://"+address, "1"
			if strings.HasPrefix(version, refusedVersion) {
				wantRefused(t, env, version)
				return
			}
			serve := programtest.Start(t, programtest.Command{Args: []string{"serve"}, Env: env})
			l := startLoad(t, serve.Address("public"))
			l.awaitAccepted(300)
			server.Kill()
			programtest.Start(t, command)
			l.awaitAccepted(300)
			accepted := l.stop()

			nc, err := nats.Connect("nats://" + address)
			if err != nil {
				t.Fatalf("connecting: %v", err)
			}
			t.Cleanup(nc.Close)
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			awaitEmpty(t, js)
			wantCleanStop(t, serve)
			reconcile(t, js, auvious, accepted, concurrency)
			if got := nc.ConnectedServerVersion(); got != version {
				t.Errorf("version of the server: got %q, want %q", got, version)
			}
		})
	}
}

// wantRefused wants "serve" to end with a sentence that names the version.
func wantRefused(t *testing.T, env map[string]string, version string) {
	t.Helper()
	code, _, log := programtest.Run(t, programtest.Command{Args: []string{"serve"}, Env: env})
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if last := lines[len(lines)-1]; code != 1 || !strings.Contains(last, version) || !strings.Contains(last, "2.12") {
		t.Errorf("serve: got exit code %d and %q, want 1 and a sentence with %s and 2.12", code, last, version)
	}
}
