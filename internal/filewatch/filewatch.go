// Package filewatch notices when files change, so that certificates, secrets and
// accounts can be read again without a restart. One watcher serves them all.
//
// It looks at the files once in an interval instead of having the system tell:
// that works alike on every file system, and for secrets that are swapped by a
// link to another directory, as Kubernetes does it.
package filewatch

import (
	"context"
	"crypto/sha256"
	"io"
	"maps"
	"os"
	"time"
)

// Interval is how often the files are looked at.
const Interval = time.Second

// maxFile bounds what is read of a file, in bytes.
const maxFile = 4 << 20

// Watcher looks at a set of files.
type Watcher struct {
	// Files returns the paths, anew each time: they may change with what is in them.
	Files func() []string
	// Since is what the files were when they were read: a change between that and
	// the first look is told too. What it does not name is as the first look finds
	// it.
	Since Snapshot
	// Changed is called after one of them has changed, appeared or disappeared. The
	// calls come one after the other.
	Changed func()
	// Interval between looks; [Interval] if 0.
	Interval time.Duration
}

// Snapshot is what files were at one time.
type Snapshot map[string]state

// Add takes in what files are now. Take it before they are read.
func (s Snapshot) Add(files ...string) {
	for _, path := range files {
		s[path] = read(path)
	}
}

// state is what is remembered of a file: its contents as a digest, so that a file
// that was only touched does not count as changed.
type state [sha256.Size]byte

// Run watches until the context ends, and then returns nil.
func (w Watcher) Run(ctx context.Context) error {
	interval := w.Interval
	if interval == 0 {
		interval = Interval
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	known := w.look()
	maps.Copy(known, w.Since)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := w.look()
		if changed(known, now) {
			w.Changed()
			// What the change brought with it is no change of its own.
			for path, s := range w.look() {
				if _, there := now[path]; !there {
					now[path] = s
				}
			}
		}
		known = now
	}
}

// changed reports whether a file differs. One that is no longer watched does not.
func changed(before, now Snapshot) bool {
	for path, s := range now {
		if old, there := before[path]; !there || old != s {
			return true
		}
	}
	return false
}

func (w Watcher) look() Snapshot {
	found := Snapshot{}
	found.Add(w.Files()...)
	return found
}

// read digests a file. One that cannot be read is as an empty one.
func read(path string) state {
	file, err := os.Open(path)
	if err != nil {
		return state{}
	}
	defer file.Close()
	hash := sha256.New()
	// Most are secrets of a few bytes, and there may be hundreds.
	if _, err := io.CopyBuffer(hash, io.LimitReader(file, maxFile), make([]byte, 1<<10)); err != nil {
		return state{}
	}
	return state(hash.Sum(nil))
}
