package simulator

// Stats are the simulator's counts since its start.
type Stats struct {
	// TokenCalls and RoomCalls count all calls, whatever their answer.
	TokenCalls int `json:"tokenCalls"`
	RoomCalls  int `json:"roomCalls"`

	// RoomsMade counts the rooms, including those of lost answers.
	RoomsMade int `json:"roomsMade"`

	// Interactions counts the interactions with at least one room, and Doubles those with
	// more than one. Equal ids of different accounts count as one.
	Interactions int `json:"interactions"`
	Doubles      int `json:"doubles"`

	// TicketFetches counts the requests below /t/, by any method. It must stay 0, because
	// in the real auvious a request could use up the ticket.
	TicketFetches int `json:"ticketFetches"`

	// TokenStatuses and RoomStatuses count the calls by the status of their answer. Calls
	// without an answer count as status 0 when they end.
	TokenStatuses map[int]int `json:"tokenStatuses"`
	RoomStatuses  map[int]int `json:"roomStatuses"`
}
