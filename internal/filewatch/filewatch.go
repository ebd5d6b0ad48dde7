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

// restFactor is how many times longer than a poll the pause after it is at least. So the
// polls of thousands of files take at most a twentieth of a processor.
const restFactor = 19

// maxFile bounds how much of a file is compared, in bytes.
const maxFile = 4 << 20

// Watcher watches files. The zero value watches none.
type Watcher struct {
	// Interval is the time between polls; [Interval] if 0. It is longer if a poll takes long.
	Interval time.Duration

	files   []func() []string
	changed []func()
	// seen is the state of the files when they were added.
	seen snapshot
}

// snapshot contains the state of files, by path.
type snapshot map[string]state

// state is a digest of a file's contents, so that a new modification time alone is no change.
type state [sha256.Size]byte

// Add adds the files whose paths files returns. Run calls files for each poll, because the
// contents of a file may name other files. After a change of any watched file since its Add,
// Run calls each changed function. Call Add before Run, and before the process reads the
// files if it knows their paths.
func (w *Watcher) Add(files func() []string, changed func()) {
	if w.seen == nil {
		w.seen = snapshot{}
	}
	w.seen.add(files())
	w.files = append(w.files, files)
	w.changed = append(w.changed, changed)
}

// Run watches the files until the context ends, and then returns nil. It calls the changed
// functions after a file has changed, appeared or disappeared. Calls never overlap.
func (w *Watcher) Run(ctx context.Context) error {
	timer := time.NewTimer(cmp.Or(w.Interval, Interval))
	defer timer.Stop()
	known := w.poll()
	maps.Copy(known, w.seen)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		began := time.Now()
		now := w.poll()
		timer.Reset(max(cmp.Or(w.Interval, Interval), restFactor*time.Since(began)))
		if differs(known, now) {
			for _, changed := range w.changed {
				changed()
			}
			// Files that are named only now have not changed.
			added := w.poll()
			maps.Copy(added, now)
			now = added
		}
		known = now
	}
}

func differs(before, now snapshot) bool {
	for path, s := range now {
		if old, ok := before[path]; !ok || old != s {
			return true
		}
	}
	return false
}

func (w *Watcher) poll() snapshot {
	all := snapshot{}
	for _, files := range w.files {
		all.add(files())
	}
	return all
}

func (s snapshot) add(paths []string) {
	for _, path := range paths {
		s[path] = read(path)
	}
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
