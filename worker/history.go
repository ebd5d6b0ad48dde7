package worker

import (
	"sync"
	"time"
)

// historyMost bounds what a process remembers. More than these wait for a retry
// only in a long outage; forgetting one costs a count, not an event.
const historyMost = 100_000

// history remembers what this process does with events, by their sequence in the
// stream: which it holds, and what it did with those that it gave back.
type history struct {
	mu    sync.Mutex
	held  map[uint64]*past
	given map[uint64]*past
}

// past is what is known of an event when it comes again.
type past struct {
	// delivery is the number of the delivery that we gave back; 0 for none.
	delivery uint64
	// reply is where that delivery is settled, and due when the next is to come.
	reply string
	due   time.Time
	// unknown counts the calls of unknown outcome.
	unknown int
	// stored is when the event was stored, as far as this process can tell. It was
	// taken from the stream's timestamp when the event first came, and goes by the
	// process' own clock since, which no step of the wall clock moves.
	stored time.Time
}

func newHistory() *history {
	return &history{held: map[uint64]*past{}, given: map[uint64]*past{}}
}

// hold takes an event on and returns what is known of it. It returns nil for one
// that this process holds already: the broker may deliver an event again that it
// took for forgotten, after a pause of the process or a step of the clock.
func (h *history) hold(sequence uint64, stored, now time.Time) *past {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held[sequence] != nil {
		return nil
	}
	p := h.given[sequence]
	delete(h.given, sequence)
	if p == nil {
		// now has a reading of the process' clock; the stream's timestamp has not.
		p = &past{stored: now.Add(-max(now.Sub(stored), 0))}
	}
	h.held[sequence] = p
	return p
}

// release lets go of an event that was held with p.
func (h *history) release(sequence uint64, p *past) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(sequence, p)
}

// giveBack lets go of an event that comes again, and remembers what p says.
func (h *history) giveBack(sequence uint64, p *past) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(sequence, p)
	if len(h.given) >= historyMost {
		clear(h.given)
	}
	copied := *p // whoever takes it on next holds it with another one
	h.given[sequence] = &copied
}

// dueAfter returns what it remembers of the events that were to come again after a
// time.
func (h *history) dueAfter(t time.Time) []past {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []past
	for _, p := range h.given {
		if p.due.After(t) {
			found = append(found, *p)
		}
	}
	return found
}

// drop takes an event out of those that are held, unless it came again since.
func (h *history) drop(sequence uint64, p *past) {
	if h.held[sequence] == p {
		delete(h.held, sequence)
	}
}
