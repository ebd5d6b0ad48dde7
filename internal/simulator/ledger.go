package simulator

import (
	"maps"
	"net/http"
	"sync"
)

// Request is a room request as the simulator received it.
type Request struct {
	// InteractionID is the interactionId in the body, or "".
	InteractionID string

	// Header is the header without Authorization and Cookie.
	Header http.Header

	// Body is the raw body.
	Body []byte
}

func newRequest(call roomCall) Request {
	header := call.request.Header.Clone()
	header.Del("Authorization")
	header.Del("Cookie")
	return Request{InteractionID: call.interactionID, Header: header, Body: call.body}
}

// ledger counts calls and rooms, and keeps the first requests.
type ledger struct {
	maxKept int

	mu      sync.Mutex
	stats   Stats
	tallies map[string]tally
	kept    []Request
}

// tally counts the calls and rooms of one interaction.
type tally struct{ calls, rooms int }

func newLedger(maxKept int) *ledger {
	return &ledger{
		maxKept: maxKept,
		stats:   Stats{TokenStatuses: map[int]int{}, RoomStatuses: map[int]int{}},
		tallies: map[string]tally{},
	}
}

// count changes the stats.
func (l *ledger) count(change func(*Stats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.stats)
}

func (l *ledger) countTokenStatus(status int) {
	l.count(func(stats *Stats) { stats.TokenStatuses[status]++ })
}

func (l *ledger) countRoomStatus(status int) {
	l.count(func(stats *Stats) { stats.RoomStatuses[status]++ })
}

// countToken counts a token call and returns its number.
func (l *ledger) countToken() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.TokenCalls++
	return l.stats.TokenCalls
}

// countCall counts a call for an interaction and returns its number.
func (l *ledger) countCall(interactionID string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tallies[interactionID]
	t.calls++
	l.tallies[interactionID] = t
	return t.calls
}

// countRoom counts a room for an interaction.
func (l *ledger) countRoom(interactionID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tallies[interactionID]
	t.rooms++
	l.tallies[interactionID] = t
	l.stats.RoomsMade++
	switch t.rooms {
	case 1:
		l.stats.Interactions++
	case 2:
		l.stats.Doubles++
	}
}

// keep keeps a call's request unless enough are kept.
func (l *ledger) keep(call roomCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) < l.maxKept {
		l.kept = append(l.kept, newRequest(call))
	}
}

// Stats returns the counts.
func (s *Simulator) Stats() Stats {
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	stats := l.stats
	stats.TokenStatuses, stats.RoomStatuses = maps.Clone(stats.TokenStatuses), maps.Clone(stats.RoomStatuses)
	return stats
}

// Rooms returns the number of rooms of an interaction.
func (s *Simulator) Rooms(interactionID string) int {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	return s.ledger.tallies[interactionID].rooms
}

// RoomsByInteraction returns the number of rooms of each interaction that has one.
func (s *Simulator) RoomsByInteraction() map[string]int {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	rooms := make(map[string]int, s.ledger.stats.Interactions)
	for interactionID, t := range s.ledger.tallies {
		if t.rooms > 0 {
			rooms[interactionID] = t.rooms
		}
	}
	return rooms
}

// Requests returns the kept requests of an interaction in the order of their arrival; see
// [Config.KeepRequests].
func (s *Simulator) Requests(interactionID string) []Request {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	var requests []Request
	for _, request := range s.ledger.kept {
		if request.InteractionID == interactionID {
			requests = append(requests, request)
		}
	}
	return requests
}
