package storecheck_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"roomlink/internal/storecheck"
	"roomlink/messages"
)

// nobody is a user without any rights.
const nobody = 65534

// asNobody runs check as another user, on a thread that ends with it.
func asNobody(t *testing.T, check func() error) error {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			result <- errno
			return
		}
		result <- check()
	}()
	return <-result
}

// TestRights: files and directories that this user may not use are named, with what to do.
func TestRights(t *testing.T) {
	for _, test := range []struct {
		name string
		take func(t *testing.T, f fixture) (path string)
		want string
	}{
		{"a block of another user", func(t *testing.T, f fixture) string {
			path := f.block(messages.ConversationsStream)
			chown(t, path, 0)
			return path
		}, "belongs to user 0, and this is user 65534: run \"chown -R 65534 "},
		{"a stream of another user", func(t *testing.T, f fixture) string {
			path := filepath.Dir(filepath.Dir(f.block(messages.LinksStream)))
			chown(t, path, 0)
			return path
		}, "belongs to user 0"},
		{"a block without rights", func(t *testing.T, f fixture) string {
			path := f.block(messages.LinksStream)
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			return path
		}, "run \"chmod -R u+rwX "},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			f.fill("a")
			for dir := f.dir; dir != os.TempDir(); dir = filepath.Dir(dir) {
				if err := os.Chmod(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			err := filepath.Walk(f.dir, func(path string, _ os.FileInfo, err error) error {
				return errors.Join(err, os.Chown(path, nobody, nobody))
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := asNobody(t, func() error { return storecheck.CheckRights(f.dir) }); err != nil {
				t.Fatalf("own files: got error %v, want none", err)
			}
			path := test.take(t, f)
			err = asNobody(t, func() error { return storecheck.CheckRights(f.dir) })
			if !errors.Is(err, storecheck.ErrRights) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %v that contains %q and %q", err, storecheck.ErrRights, path, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "move") {
				t.Errorf("got error %v, want no advice to move the store away", err)
			}
		})
	}
}

func chown(t *testing.T, path string, user int) {
	t.Helper()
	if err := os.Chown(path, user, user); err != nil {
		t.Fatal(err)
	}
}
