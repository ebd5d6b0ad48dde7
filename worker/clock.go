package worker

import "time"

// leastStep is by how much the clock must have been set back to be noticed. An event
// waits for longer than that anyway.
const leastStep = time.Second

// wallClock notices when the clock of this machine is set back. The broker tells by it
// when an event that was given back is due, and would keep it for that much longer.
type wallClock struct{ last time.Time }

func newWallClock() *wallClock { return &wallClock{time.Now()} }

// setBack reports whether the clock was set back since it was looked at last, and when
// that was.
func (c *wallClock) setBack(now time.Time) (since time.Time, yes bool) {
	since = c.last
	c.last = now
	passed, shown := now.Sub(since), now.Round(0).Sub(since.Round(0))
	return since, passed-shown >= leastStep
}
