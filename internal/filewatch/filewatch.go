// Package filewatch detects changes of files, so that a process can reload certificates,
// secrets and accounts without a restart.
//
// It polls instead of using notifications of the operating system. Polling works on every
// file system, and for symbolic links to a new directory, which is how Kubernetes updates
// secrets.
package filewatch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"io"
	"maps"
	"os"
	"time"
)

// Interval is the default of [Watcher.Interval].
const Interval = time.Second

// maxFile bounds how much of a file is compared, in bytes.
const maxFile = 4 << 20

// Watcher watches a set of files.
type Watcher struct {
	// Files returns the paths. It is called for each poll, because the contents of a file may
	// name other files.
	Files func() []string
	// Since is a snapshot from before the process read the files. With it, Run detects a
	// change before the first poll. For other files the first poll takes the snapshot.
	Since Snapshot
	// Changed is called after a file has changed, appeared or disappeared. Calls never
	// overlap.
	Changed func()
	// Interval is the time between polls; [Interval] if 0.
	Interval time.Duration
}

// Snapshot contains the state of files, by path.
type Snapshot map[string]state

// Add records the current state of files. Call it before reading them.
func (s Snapshot) Add(files ...string) {
	for _, path := range files {
		s[path] = read(path)
	}
}

// state is a digest of a file's contents, so that a new modification time alone is no change.
type state [sha256.Size]byte

// Run watches the files until the context ends, and then returns nil.
func (w Watcher) Run(ctx context.Context) error {
	ticker := time.NewTicker(cmp.Or(w.Interval, Interval))
	defer ticker.Stop()
	known := w.poll()
	maps.Copy(known, w.Since)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := w.poll()
		if changed(known, now) {
			w.Changed()
			// Files that Files returns only now have not changed.
			added := w.poll()
			maps.Copy(added, now)
			now = added
		}
		known = now
	}
}

// changed reports whether a file in now differs from before.
func changed(before, now Snapshot) bool {
	for path, s := range now {
		if old, ok := before[path]; !ok || old != s {
			return true
		}
	}
	return false
}

func (w Watcher) poll() Snapshot {
	snapshot := Snapshot{}
	snapshot.Add(w.Files()...)
	return snapshot
}

// read returns the digest of a file, or the zero state if it cannot be read.
func read(path string) state {
	file, err := os.Open(path)
	if err != nil {
		return state{}
	}
	defer file.Close()
	hash := sha256.New()
	// A small buffer is enough: most files are short secrets, and there may be hundreds.
	if _, err := io.CopyBuffer(hash, io.LimitReader(file, maxFile), make([]byte, 1<<10)); err != nil {
		return state{}
	}
	return state(hash.Sum(nil))
}
