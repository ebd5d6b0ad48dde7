package filewatch_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"roomlink/internal/filewatch"
	"roomlink/internal/roomlinktest"
)

// watched runs a watcher and returns a channel that receives its changes.
func watched(t *testing.T, files ...string) <-chan struct{} {
	t.Helper()
	w, changes := newWatcher(files)
	run(t, w)
	return changes
}

// newWatcher returns a watcher and a channel that receives its changes.
func newWatcher(files []string) (*filewatch.Watcher, <-chan struct{}) {
	changes := make(chan struct{}, 16)
	w := &filewatch.Watcher{Interval: time.Millisecond}
	w.Add(func() []string { return files }, func() { changes <- struct{}{} })
	return w, changes
}

// run runs a watcher until the test ends.
func run(t *testing.T, w *filewatch.Watcher) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	// The rename is atomic: readers see the old file or the new one.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestRunDetectsChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, "one")
	changes := watched(t, path)
	write(t, path, "two")
	roomlinktest.Receive(t, changes, "a changed file")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	roomlinktest.Receive(t, changes, "a removed file")
	write(t, path, "three")
	roomlinktest.Receive(t, changes, "a file that appeared")
}

// Kubernetes updates a secret by changing a symbolic link to its directory.
func TestRunDetectsChangedLink(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "secret"), version)
	}
	link := filepath.Join(dir, "current")
	if err := os.Symlink("v1", link); err != nil {
		t.Fatal(err)
	}
	changes := watched(t, filepath.Join(link, "secret"))
	if err := os.Symlink("v2", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	roomlinktest.Receive(t, changes, "a changed link")
}

func TestRunIgnoresUnchangedFiles(t *testing.T) {
	dir := t.TempDir()
	touched, changed := filepath.Join(dir, "touched"), filepath.Join(dir, "changed")
	write(t, touched, "same")
	write(t, changed, "one")
	changes := watched(t, touched, changed)
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(touched, later, later); err != nil {
		t.Fatal(err)
	}
	write(t, changed, "two")
	roomlinktest.Receive(t, changes, "the changed file")
	if len(changes) != 0 {
		t.Error("got a second change, want none for the touched file")
	}
}

// A file may change between the first read and the first poll.
func TestChangeBeforeFirstPoll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, "one")
	w, changes := newWatcher([]string{path})
	write(t, path, "two")
	run(t, w)
	roomlinktest.Receive(t, changes, "a change before the first poll")
}

// A change of one set calls the functions of all. Files that a set names later have not changed.
func TestRunCallsAllSets(t *testing.T) {
	dir := t.TempDir()
	path, late := filepath.Join(dir, "accounts"), filepath.Join(dir, "secret")
	write(t, path, "one")
	write(t, late, "one")
	w, changes := newWatcher([]string{path})
	others, named := make(chan struct{}, 16), []string{}
	w.Add(func() []string { return named }, func() {
		named = []string{late}
		others <- struct{}{}
	})
	run(t, w)
	for range 2 {
		write(t, path, rand.Text())
		roomlinktest.Receive(t, changes, "a change")
		roomlinktest.Receive(t, others, "a change of another set")
	}
	if len(changes) != 0 || len(others) != 0 {
		t.Error("got another change, want none for the file that was named later")
	}
	write(t, late, "two")
	roomlinktest.Receive(t, others, "a change of the file that was named later")
}
