package faultynet_test

import (
	"bytes"
	"io"
	"sync"
)

// logbook wakes whoever waits for the next line of the log.
type logbook struct {
	mu      sync.Mutex
	written chan struct{}
	text    bytes.Buffer
}

var _ io.Writer = (*logbook)(nil)

func newLogbook() *logbook { return &logbook{written: make(chan struct{})} }

// Write implements [io.Writer].
func (l *logbook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.written)
	l.written = make(chan struct{})
	return l.text.Write(line)
}

func (l *logbook) next() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}
