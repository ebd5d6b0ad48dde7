// Package backoff computes how long to wait between attempts. The delay doubles
// from a minimum to a maximum.
//
// A [Backoff] has no state: the caller counts the attempts. So one value serves all
// goroutines, and a delay can be computed from the delivery count of a message.
// Callers that compete for one resource add full jitter with
// rand.N(b.Delay(attempt)).
package backoff

import "time"

// Backoff bounds the delay between two attempts. Min and Max are positive, and Min is
// not greater than Max.
type Backoff struct{ Min, Max time.Duration }

// Delay returns the delay after the given number of failed attempts: Min after the
// first, 2·Min after the second, 4·Min after the third, and Max at most. It never
// overflows. For 0 attempts it returns Min.
func (b Backoff) Delay(attempts uint64) time.Duration {
	doublings := max(attempts, 1) - 1
	if b.Max>>doublings < b.Min {
		return b.Max
	}
	return b.Min << doublings
}
