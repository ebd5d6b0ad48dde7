package roomlinktest

import (
	"bytes"
	"io"
	"sync"
)

// Logbook keeps every line of a log. The zero value is an empty logbook.
type Logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
	// written is closed at the next line; nil while nobody waits for one.
	written chan struct{}
}

var _ io.Writer = (*Logbook)(nil)

// Write implements [io.Writer].
func (l *Logbook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written != nil {
		close(l.written)
		l.written = nil
	}
	return l.text.Write(line)
}

// Next returns a channel that is closed when the next line is written.
func (l *Logbook) Next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written == nil {
		l.written = make(chan struct{})
	}
	return l.written
}

// From returns the text after the given number of bytes.
func (l *Logbook) From(offset int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text.Bytes()[offset:])
}

// String returns all lines.
func (l *Logbook) String() string { return l.From(0) }
