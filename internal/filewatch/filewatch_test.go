package filewatch_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"roomlink/internal/filewatch"
	"roomlink/internal/roomlinktest"
)

// watched runs a watcher and returns a channel that receives its changes.
func watched(t *testing.T, files func() []string) <-chan struct{} {
	t.Helper()
	changes := make(chan struct{}, 16)
	began := make(chan struct{})
	var polls int
	w := filewatch.Watcher{
		Files: func() []string {
			if polls++; polls == 2 {
				close(began) // the first poll is done
			}
			return files()
		},
		Changed:  func() { changes <- struct{}{} },
		Interval: time.Millisecond,
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: got %v, want nil", err)
		}
	})
	<-began
	return changes
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
	changes := watched(t, func() []string { return []string{path} })
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
	changes := watched(t, func() []string { return []string{filepath.Join(link, "secret")} })
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
	changes := watched(t, func() []string { return []string{touched, changed} })
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
	since := filewatch.Snapshot{}
	since.Add(path)
	write(t, path, "two")
	changes := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- filewatch.Watcher{
			Files: func() []string { return []string{path} }, Since: since,
			Changed: func() { changes <- struct{}{} }, Interval: time.Millisecond,
		}.Run(ctx)
	}()
	roomlinktest.Receive(t, changes, "a change before the first poll")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
}
