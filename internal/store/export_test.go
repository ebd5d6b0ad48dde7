package store

import "time"

// SetIdleInterval sets the interval at which a feed checks whether anybody follows.
func (f *Feed) SetIdleInterval(interval time.Duration) { f.idleInterval = interval }
