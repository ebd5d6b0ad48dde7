package faultynet_test

import (
	"sync"
	"testing"
	"time"
)

const stallInterval = 10 * time.Millisecond

// stalls measures how long the machine stalled the tests because other programs or tests used
// its processors. Checks of durations subtract the stalls.
type stalls struct {
	mu   sync.Mutex
	lost time.Duration
	last time.Time
}

// machine measures the stalls of all tests.
var machine stalls

// watch measures until stop is called.
func (s *stalls) watch() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	s.last = time.Now()
	go func() {
		defer close(ended)
		ticker := time.NewTicker(stallInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				s.total()
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// total returns the sum of all stalls so far.
func (s *stalls) total() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if late := now.Sub(s.last) - stallInterval; late > 0 {
		s.lost += late
	}
	s.last = now
	return s.lost
}

// measure returns a function that returns the sum of the stalls from now on.
func (s *stalls) measure() (lost func() time.Duration) {
	before := s.total()
	return func() time.Duration { return s.total() - before }
}

func TestStalls(t *testing.T) {
	s := &stalls{last: time.Now().Add(-time.Second)}
	if got := s.total(); got < time.Second-stallInterval {
		t.Errorf("after a stall of 1 s: got %v, want at least %v", got, time.Second-stallInterval)
	}
	if got := s.measure()(); got > time.Second {
		t.Errorf("without a stall: got %v, want less than 1 s", got)
	}
}
