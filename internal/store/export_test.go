package store

import "time"

// LookAgainEvery sets how often a feed looks whether anybody still follows.
func (f *Feed) LookAgainEvery(interval time.Duration) { f.idleInterval = interval }
