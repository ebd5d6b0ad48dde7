package faultynet_test

import (
	"fmt"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// The outcomes of a call, as in the metric.
const (
	created        = "created"
	notDone        = "not_done"
	unknownOutcome = "unknown_outcome"
)

// TestFacadeNetwork breaks the network to auvious while the worker makes rooms. It checks the
// outcome of the calls, and that every event has links after the network has recovered.
func TestFacadeNetwork(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		toxics []roomlinktest.Toxic
		// cut closes the connections first. Without toxics it also refuses new ones.
		cut bool
		// outcome is the outcome of calls meanwhile. never lists outcomes that no call has.
		outcome string
		never   []string
	}{
		{
			name:   "latency",
			toxics: roomlinktest.BothWays("latency", map[string]int{"latency": 300, "jitter": 200}), outcome: created,
			never: []string{notDone, unknownOutcome},
		},
		{
			name:   "bandwidth",
			toxics: roomlinktest.BothWays("bandwidth", map[string]int{"rate": 4}), outcome: created,
			never: []string{notDone, unknownOutcome},
		},
		{
			name:   "slices",
			toxics: roomlinktest.BothWays("slicer", map[string]int{"average_size": 40, "size_variation": 20, "delay": 100}), outcome: created,
			never: []string{notDone, unknownOutcome},
		},
		{name: "black hole", toxics: roomlinktest.BlackHole(), outcome: unknownOutcome, never: []string{notDone, created}},
		{name: "black hole for requests", toxics: roomlinktest.BlackHole()[:1], outcome: unknownOutcome, never: []string{notDone, created}},
		{name: "black hole for replies", toxics: roomlinktest.BlackHole()[1:], outcome: unknownOutcome, never: []string{notDone, created}},
		{name: "black hole for new connections", toxics: roomlinktest.BlackHole(), cut: true, outcome: unknownOutcome, never: []string{created}},
		{
			name:   "resets",
			toxics: roomlinktest.BothWays("reset_peer", map[string]int{"timeout": 0}), outcome: unknownOutcome,
			never: []string{created},
		},
		{
			name:   "truncated answer",
			toxics: []roomlinktest.Toxic{roomlinktest.Downstream("limit_data", map[string]int{"bytes": 100})}, outcome: unknownOutcome,
			never: []string{created},
		},
		{
			name: "connections that close, and close slowly",
			toxics: []roomlinktest.Toxic{
				roomlinktest.Downstream("limit_data", map[string]int{"bytes": 100}),
				roomlinktest.Downstream("slow_close", map[string]int{"delay": 500}),
			},
			outcome: unknownOutcome, never: []string{created},
		},
		{name: "refused", cut: true, outcome: notDone, never: []string{created}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			choice := settings{}
			if test.outcome == created {
				choice.timeout = time.Minute // longer than the slow network needs
			}
			s := newSystem(t, choice)
			ids, _ := s.flood("before", 3, 3)
			s.awaitLinks(ids...)
			before := map[string]float64{}
			for _, outcome := range []string{created, notDone, unknownOutcome} {
				before[outcome] = s.metric("roomlink_facade_calls_total", "outcome", outcome)
			}

			if test.cut {
				s.toAuvious.Cut()
			}
			s.toAuvious.AddToxics(test.toxics...)
			if test.cut && test.toxics != nil {
				s.toAuvious.Open()
			}
			stored, refused := s.flood("while", 8, 4)
			if len(refused) > 0 {
				t.Errorf("events refused because of auvious: got %v, want none", refused)
			}
			s.awaitCalls(test.outcome, before[test.outcome]+4)
			for _, outcome := range test.never {
				if got := s.metric("roomlink_facade_calls_total", "outcome", outcome); got != before[outcome] {
					t.Errorf("calls that ended as %s: got %v, want none", outcome, got-before[outcome])
				}
			}
			s.toAuvious.RemoveToxics()
			if test.cut && test.toxics == nil {
				s.toAuvious.Open()
			}
			s.mustStore("after")
			s.wantDone(append(append(ids, stored...), "after"))
		})
	}
}

// Events with too many unknown outcomes become dead letters, and each of their calls counts as
// a possible orphan. After the network has recovered, a replay gives them links.
func TestUnknownOutcomesBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	const events, retries = 3, 1
	s := newSystem(t, settings{timeout: 500 * time.Millisecond, unknownRetries: retries})
	ids, _ := s.flood("before", 1, 1)
	s.awaitLinks(ids...)
	s.toAuvious.AddToxics(roomlinktest.BlackHole()[1:]...) // calls arrive and make rooms
	stored, _ := s.flood("while", events, events)
	roomlinktest.Await(s.tb, "dead letters", func() bool { return s.messagesIn(messages.DeadLettersStream) == events })
	roomlinktest.Await(s.tb, "an empty queue", func() bool { return s.messagesIn(messages.ConversationsStream) == 0 })
	if got := s.metric("roomlink_orphans_possible_total", "cause", unknownOutcome); got != events*(retries+1) {
		t.Errorf("possible orphans: got %v, want %d, one for each call", got, events*(retries+1))
	}
	for _, id := range stored {
		if got := s.simulator.Rooms(id); got != retries+1 {
			t.Errorf("rooms of %q: got %d, want %d", id, got, retries+1)
		}
	}
	s.toAuvious.RemoveToxics()
	for _, id := range stored {
		conversation := messages.Conversation{Account: account, InteractionID: id}
		letter, err := s.observer.DeadLetter(roomlinktest.Context(t), conversation, store.Leader)
		if err != nil || letter.Data.Reason != messages.ReasonUnknownOutcome {
			t.Fatalf("dead letter of %q: got reason %q and error %v, want %q",
				id, letter.Data.Reason, err, messages.ReasonUnknownOutcome)
		}
		if _, err := s.observer.Replay(roomlinktest.Context(t), letter); err != nil {
			t.Fatalf("replaying %q: %v", id, err)
		}
	}
	s.wantDone(append(ids, stored...))
}

// TestBothNetworks cuts both networks repeatedly while events arrive.
func TestBothNetworks(t *testing.T) {
	t.Parallel()
	s := newSystem(t, settings{timeout: time.Second})
	var ids []string
	for round := range 4 {
		network := []*roomlinktest.Network{s.toBroker, s.toAuvious}[round%2]
		network.Cut()
		stored, refused := s.flood(fmt.Sprintf("cut-%d", round), 6, 3)
		network.Open()
		for _, id := range refused {
			s.mustStore(id)
		}
		ids = append(append(ids, stored...), refused...)
	}
	s.wantDone(ids)
}
