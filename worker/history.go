package worker

import "sync"

// historyMost bounds what a process remembers. More than these wait for a retry
// only in a long outage; forgetting one costs a count, not an event.
const historyMost = 100_000

// history remembers what this process did with events that it gave back, by
// their sequence in the stream.
type history struct {
	mu    sync.Mutex
	given map[uint64]past
}

// past is what is known of an event when it comes again.
type past struct {
	// delivery is the number of the delivery that we gave back; 0 for none.
	delivery uint64
	// unknown counts the calls of unknown outcome.
	unknown int
}

func newHistory() *history { return &history{given: map[uint64]past{}} }

// take returns what is known of an event, and forgets it.
func (h *history) take(sequence uint64) past {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.given[sequence]
	delete(h.given, sequence)
	return p
}

// put remembers an event that is given back.
func (h *history) put(sequence uint64, p past) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.given) >= historyMost {
		clear(h.given)
	}
	h.given[sequence] = p
}
