package simulator

// Stats are the simulator's counts since it was made.
type Stats struct {
	// TokenCalls and RoomCalls count the calls received, whatever became of them.
	TokenCalls int `json:"tokenCalls"`
	RoomCalls  int `json:"roomCalls"`

	// RoomsMade counts the rooms, whether or not their answer went out.
	RoomsMade int `json:"roomsMade"`

	// Interactions counts the interactions with at least one room, Doubles those
	// with more than one. Equal ids of different accounts count as one.
	Interactions int `json:"interactions"`
	Doubles      int `json:"doubles"`

	// TicketFetches counts the requests for anything under /t/, by any method.
	// It stays 0 unless somebody burns tickets.
	TicketFetches int `json:"ticketFetches"`

	// TokenStatuses and RoomStatuses count the calls by the status they were
	// answered with; 0 is no answer, counted when the call has ended.
	TokenStatuses map[int]int `json:"tokenStatuses"`
	RoomStatuses  map[int]int `json:"roomStatuses"`
}

// Stats returns the counts. They are taken one after the other: while calls are
// under way they need not agree with each other.
func (s *Simulator) Stats() Stats {
	l := s.ledger
	return Stats{
		TokenCalls:    int(l.tokenCalls.Load()),
		RoomCalls:     int(l.roomCalls.Load()),
		RoomsMade:     int(l.roomsMade.Load()),
		Interactions:  int(l.interactions.Load()),
		Doubles:       int(l.doubles.Load()),
		TicketFetches: int(l.ticketFetches.Load()),
		TokenStatuses: l.tokenStatuses.snapshot(),
		RoomStatuses:  l.roomStatuses.snapshot(),
	}
}

// Rooms returns how many rooms were made for an interaction.
func (s *Simulator) Rooms(interactionID string) int {
	shard := s.ledger.shard(interactionID)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.tallies[interactionID].rooms
}

// RoomsByInteraction returns how many rooms were made for each interaction that
// has one.
func (s *Simulator) RoomsByInteraction() map[string]int {
	rooms := make(map[string]int, s.ledger.interactions.Load())
	for i := range s.ledger.shards {
		s.ledger.shards[i].addTo(rooms)
	}
	return rooms
}

// Requests returns the room requests received for an interaction, in the order
// in which they came, of those kept: see [Config.KeepRequests].
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
