package worker

import (
	"sync"
	"time"
)

const (
	// maxWaiting bounds the events whose retry a process remembers. Beyond it, the process forgets them all. No event is
	// lost, but each begins a new count of unknown outcomes, and its next delivery counts as a possible orphan.
	maxWaiting = 100_000
	// minSetBack is the smallest step back of the clock that the worker notices. A retry may be late by that much.
	minSetBack = time.Second
)

// deliveries knows the events that this process holds, and remembers the events that it gave back.
type deliveries struct {
	mu      sync.Mutex
	held    map[storedEvent]*job
	waiting map[storedEvent]delivery
}

// storedEvent identifies an event. A stream that was deleted and made again counts its sequences from 1 again, so the
// time counts, too. It is in nanoseconds.
type storedEvent struct {
	sequence uint64
	at       int64
}

// delivery is what a process remembers of an event until its next delivery.
type delivery struct {
	// number is that of the delivery that this process gave back; 0 for none.
	number uint64
	// reply is the subject that settles this delivery, and due the time of the next one.
	reply string
	due   time.Time
	// unknown is the number of calls with an unknown outcome.
	unknown int
	// storedAt is the time at which the event was stored, on the monotonic clock of this process. The first delivery
	// sets it; later steps of the wall clock do not move it.
	storedAt time.Time
	// earlier says how long the steps of earlier deliveries took.
	earlier durations
	// before is the last attempt of this process, for the trace.
	before attempt
}

func newDeliveries() *deliveries {
	return &deliveries{held: map[storedEvent]*job{}, waiting: map[storedEvent]delivery{}}
}

// hold registers a job and adds to it what is known of its event. It returns false if this process holds the event
// already: after a pause of the process or a step of the clock, the broker may deliver an event twice.
func (d *deliveries) hold(j *job) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held[j.stored()] != nil {
		return false
	}
	known, ok := d.waiting[j.stored()]
	if !ok {
		known.storedAt = j.began.Add(-max(j.began.Sub(j.meta.Timestamp), 0))
	}
	delete(d.waiting, j.stored())
	j.delivery = known
	d.held[j.stored()] = j
	return true
}

// release ends the hold of a job. It changes nothing after [deliveries.giveBack].
func (d *deliveries) release(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held[j.stored()] == j {
		delete(d.held, j.stored())
	}
}

// giveBack ends the hold of a job and remembers what is known of its event.
func (d *deliveries) giveBack(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.held, j.stored())
	if len(d.waiting) >= maxWaiting {
		clear(d.waiting)
	}
	d.waiting[j.stored()] = j.delivery
}

// dueAfter returns the remembered events whose next delivery is due after t.
func (d *deliveries) dueAfter(t time.Time) []delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []delivery
	for _, known := range d.waiting {
		if known.due.After(t) {
			found = append(found, known)
		}
	}
	return found
}

// wallClock notices when the clock of this machine is set back.
type wallClock struct{ last time.Time }

// setBack reports whether the clock was set back since the last call, and the time of the last call.
func (c *wallClock) setBack(now time.Time) (since time.Time, yes bool) {
	since, c.last = c.last, now
	elapsed, shown := now.Sub(since), now.Round(0).Sub(since.Round(0)) // on the monotonic clock, on the wall clock
	return since, elapsed-shown >= minSetBack
}
