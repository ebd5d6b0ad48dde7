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

// watched runs a watcher on files and returns where it tells of changes.
func watched(t *testing.T, files func() []string) <-chan struct{} {
	t.Helper()
	told := make(chan struct{}, 16)
	began := make(chan struct{})
	var looks int
	w := filewatch.Watcher{
		Files: func() []string {
			if looks++; looks == 2 {
				close(began) // the first look is done
			}
			return files()
		},
		Changed:  func() { told <- struct{}{} },
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
	return told
}

func write(t *testing.T, path, text string) {
	t.Helper()
	// As careful programs do it: readers see the old file or the new one.
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestRunNoticesChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, "one")
	told := watched(t, func() []string { return []string{path} })
	write(t, path, "two")
	roomlinktest.Receive(t, told, "another content")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	roomlinktest.Receive(t, told, "a file that is gone")
	write(t, path, "three")
	roomlinktest.Receive(t, told, "a file that is back")
}

// TestRunNoticesSwappedLinks changes a secret as Kubernetes does: the directory
// that a link names is another one.
func TestRunNoticesSwappedLinks(t *testing.T) {
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
	told := watched(t, func() []string { return []string{filepath.Join(link, "secret")} })
	if err := os.Symlink("v2", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	roomlinktest.Receive(t, told, "a swapped link")
}

func TestRunLeavesUnchangedFilesAlone(t *testing.T) {
	dir := t.TempDir()
	touched, changed := filepath.Join(dir, "touched"), filepath.Join(dir, "changed")
	write(t, touched, "same")
	write(t, changed, "one")
	told := watched(t, func() []string { return []string{touched, changed} })
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(touched, later, later); err != nil {
		t.Fatal(err)
	}
	write(t, changed, "two")
	roomlinktest.Receive(t, told, "the other file")
	if len(told) != 0 {
		t.Error("a file that was only touched counts as changed")
	}
}

// Between reading a file and watching it lies the start of the program.
func TestChangeBeforeTheFirstLook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, "one")
	since := filewatch.Snapshot{}
	since.Add(path)
	write(t, path, "two")
	told := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- filewatch.Watcher{
			Files: func() []string { return []string{path} }, Since: since,
			Changed: func() { told <- struct{}{} }, Interval: time.Millisecond,
		}.Run(ctx)
	}()
	roomlinktest.Receive(t, told, "a change before the first look")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
}
