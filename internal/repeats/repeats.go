// Package repeats bounds the log lines of what repeats.
package repeats

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// interval is the shortest time between two log lines of one state.
const interval = time.Minute

// Lines bounds the log lines of states that repeat, such as retries: each state gets one line a minute. The zero value
// is ready. Many goroutines may use it at once.
type Lines struct {
	mu     sync.Mutex
	states map[string]*repeat
}

// repeat is the last line of a state, and how many were left out since.
type repeat struct {
	logged time.Time
	left   int
}

// Line returns a log line at a level for a state; nil, which logs nothing, if the state had a line within a minute. The
// field "repeated" says how many lines were left out before. The states must be a closed list.
func (l *Lines) Line(log *zerolog.Logger, level zerolog.Level, state string) *zerolog.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.states[state]
	now := time.Now()
	if known != nil && now.Sub(known.logged) < interval {
		known.left++
		return nil
	}
	line := log.WithLevel(level)
	if known != nil && known.left > 0 {
		line = line.Int("repeated", known.left)
	}
	if l.states == nil {
		l.states = map[string]*repeat{}
	}
	l.states[state] = &repeat{logged: now}
	return line
}
