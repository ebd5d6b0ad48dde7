package faultynet_test

import (
	"sync"
	"testing"
	"time"
)

// beat is how often the machine is asked whether it keeps time.
const beat = 10 * time.Millisecond

// stalls measures how long this machine kept the tests waiting that had something
// to do: other tests, or other programs, had its processors. A promise about time
// is held against what is left without that.
type stalls struct {
	mu   sync.Mutex
	lost time.Duration
	last time.Time
}

// machine is the one that the tests run on.
var machine stalls

// watch measures until it is stopped.
func (s *stalls) watch() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	s.last = time.Now()
	go func() {
		defer close(ended)
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				s.so()
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// so is all that was lost up to now.
func (s *stalls) so() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if late := now.Sub(s.last) - beat; late > 0 {
		s.lost += late
	}
	s.last = now
	return s.lost
}

// spell measures what is lost from now on.
func (s *stalls) spell() (lost func() time.Duration) {
	before := s.so()
	return func() time.Duration { return s.so() - before }
}

func TestStallsAreMeasured(t *testing.T) {
	s := &stalls{last: time.Now().Add(-time.Second)}
	if got := s.so(); got < time.Second-beat {
		t.Errorf("lost: got %v, want a second less a beat, or more", got)
	}
	if got := s.spell()(); got > time.Second {
		t.Errorf("lost in no time: got %v, want less", got)
	}
}
