package simulator

import (
	"hash/maphash"
	"net/http"
	"sync"
	"sync/atomic"
)

// Request is one room request as it was received.
type Request struct {
	// InteractionID is the body's interactionId, or empty.
	InteractionID string

	// Header is the request's header without Authorization and Cookie.
	Header http.Header

	// Body is the raw body.
	Body []byte
}

// newRequest returns what may be kept and shown of a call.
func newRequest(call roomCall) Request {
	header := call.request.Header.Clone()
	header.Del("Authorization")
	header.Del("Cookie")
	return Request{InteractionID: call.interactionID, Header: header, Body: call.body}
}

// ledger keeps the counts. What each call touches is atomic or sharded.
type ledger struct {
	tokenCalls, roomCalls, roomsMade     atomic.Int64
	interactions, doubles, ticketFetches atomic.Int64
	tokenStatuses, roomStatuses          statusCounts

	seed   maphash.Seed
	shards [64]shard

	free atomic.Int64 // how many requests may still be kept; negative when none
	mu   sync.Mutex
	kept []Request
}

// shard holds the tallies of a part of the interactions.
type shard struct {
	mu      sync.Mutex
	tallies map[string]tally
}

// tally counts for one interaction.
type tally struct{ calls, rooms int }

func newLedger(keep int) *ledger {
	l := &ledger{seed: maphash.MakeSeed()}
	l.free.Store(int64(max(keep, 0)))
	for i := range l.shards {
		l.shards[i].tallies = map[string]tally{}
	}
	return l
}

// shard returns the shard that an interaction belongs to.
func (l *ledger) shard(interactionID string) *shard {
	return &l.shards[maphash.String(l.seed, interactionID)%uint64(len(l.shards))]
}

// called counts a call for an interaction, and returns its number.
func (l *ledger) called(interactionID string) int {
	return l.shard(interactionID).add(interactionID, tally{calls: 1}).calls
}

// made counts a room for an interaction.
func (l *ledger) made(interactionID string) {
	l.roomsMade.Add(1)
	switch l.shard(interactionID).add(interactionID, tally{rooms: 1}).rooms {
	case 1:
		l.interactions.Add(1)
	case 2:
		l.doubles.Add(1)
	}
}

// keep keeps a call's request if there is space left.
func (l *ledger) keep(call roomCall) {
	if l.free.Load() <= 0 || l.free.Add(-1) < 0 {
		return
	}
	request := newRequest(call)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, request)
}

// add adds to an interaction's tally, and returns it.
func (s *shard) add(interactionID string, more tally) tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tallies[interactionID]
	t.calls += more.calls
	t.rooms += more.rooms
	s.tallies[interactionID] = t
	return t
}

// addTo adds the shard's rooms to a map.
func (s *shard) addTo(rooms map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for interactionID, t := range s.tallies {
		if t.rooms > 0 {
			rooms[interactionID] = t.rooms
		}
	}
}

// statusCounts counts answers by their status, without a lock.
type statusCounts [1000]atomic.Int64

// add counts one answer.
func (c *statusCounts) add(status int) {
	if status >= 0 && status < len(c) {
		c[status].Add(1)
	}
}

// snapshot returns the counts that are not zero.
func (c *statusCounts) snapshot() map[int]int {
	counts := map[int]int{}
	for status := range c {
		if n := c[status].Load(); n > 0 {
			counts[status] = int(n)
		}
	}
	return counts
}
