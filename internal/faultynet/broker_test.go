package faultynet_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// writesAreBounded says that internal/broker bounds how long a connection may hold
// its lock: connecting by nats.Timeout of at most 2 s, and writing by
// nats.FlusherTimeout of 1 s with nats.ReconnectOnFlusherError. Until then the
// tests that ask for it fail, one with requests that hang for a minute.
const writesAreBounded = true

// TestBrokerNetwork breaks the network between us and the broker while events
// come in and are worked on, in one way after the other.
func TestBrokerNetwork(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		toxics []roomlinktest.Toxic
		// cut ends the connections first, so that new ones meet the toxics.
		cut bool
		// refuses says that no event can be stored meanwhile.
		refuses bool
	}{
		{name: "latency", toxics: roomlinktest.Both("latency", map[string]int{"latency": 300, "jitter": 200})},
		{name: "bandwidth", toxics: roomlinktest.Both("bandwidth", map[string]int{"rate": 8})},
		{name: "slices", toxics: roomlinktest.Both("slicer", map[string]int{"average_size": 20, "size_variation": 10, "delay": 100})},
		{name: "stall", toxics: roomlinktest.Both("latency", map[string]int{"latency": 6000}), refuses: true},
		{name: "black hole", toxics: roomlinktest.BlackHole(), refuses: true},
		{name: "black hole on the way there", toxics: roomlinktest.BlackHole()[:1], refuses: true},
		{name: "black hole on the way back", toxics: roomlinktest.BlackHole()[1:], refuses: true},
		{name: "resets", toxics: roomlinktest.Both("reset_peer", map[string]int{"timeout": 0}), refuses: true},
		{name: "resets of new connections", toxics: roomlinktest.Both("reset_peer", map[string]int{"timeout": 0}), cut: true, refuses: true},
		{
			name: "connections that end, and end slowly",
			toxics: append(roomlinktest.Both("limit_data", map[string]int{"bytes": 6000}),
				roomlinktest.Both("slow_close", map[string]int{"delay": 2000})...),
		},
		{name: "refused", cut: true, refuses: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{})
			ids, _ := s.flood("before", 5, 5)
			s.awaitLinks(ids...)

			if test.cut {
				s.toBroker.Cut()
			}
			s.toBroker.Suffer(test.toxics...)
			if test.cut && test.toxics != nil {
				s.toBroker.Open()
			}
			stored, refused := s.flood("while", 24, 6)
			if test.refuses && len(stored) > 0 {
				t.Errorf("events stored meanwhile: got %v, want none", stored)
			}
			s.toBroker.Heal()
			if test.cut && test.toxics == nil {
				s.toBroker.Open()
			}
			// Some of those that were refused may be stored: what was lost is the answer.
			for _, id := range refused {
				s.mustStore(id)
			}
			s.mustStore("after")
			s.wantDone(append(append(append(ids, stored...), refused...), "after"))
		})
	}
}

// TestNoBrokerBehindConnections: connections end, and new ones are accepted by
// something that never says a word, as by a load balancer whose servers are gone.
// No request waits for one of them to be made.
func TestNoBrokerBehindConnections(t *testing.T) {
	t.Parallel()
	if !writesAreBounded {
		t.Skip("internal/broker does not bound its writes yet")
	}
	s := newSite(t, setup{})
	ids, _ := s.flood("before", 5, 5)
	s.awaitLinks(ids...)
	s.toBroker.Cut()
	broker := s.toBroker.Lead(mute(t))
	s.toBroker.Open()
	// Requests that come at any time of an attempt to connect, of which each ends
	// some time and the next begins.
	stored, refused := s.spread("while", 120, 8*time.Second)
	if len(stored) > 0 {
		t.Errorf("events stored meanwhile: got %v, want none", stored)
	}
	s.toBroker.Cut()
	s.toBroker.Lead(broker)
	s.toBroker.Open()
	for _, id := range refused {
		s.mustStore(id)
	}
	s.wantDone(append(ids, refused...))
}

// mute listens, and never says a word.
func mute(tb testing.TB) (address string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	tb.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// TestBrokerStopsReading: a network that takes no more bytes is found out by the
// writes, and no request waits for them.
func TestBrokerStopsReading(t *testing.T) {
	t.Parallel()
	if !writesAreBounded {
		t.Skip("internal/broker does not bound its writes yet")
	}
	s := newSite(t, setup{})
	s.toBroker.Suffer(roomlinktest.Both("bandwidth", map[string]int{"rate": 1})...)
	// As large as the webhook takes them, to fill what the kernel keeps of them.
	const events, atOnce = 1600, 400
	filling := fmt.Sprintf(`,"applicationId":%q,"organizationId":%q,"urlBase":%q`,
		strings.Repeat("a", 2000), strings.Repeat("o", 2000), "https://auvious.test/"+strings.Repeat("u", 2000))
	s.inParallel(events, atOnce, func(i int) {
		id := fmt.Sprintf("call-%d", i)
		s.wantInTime(s.send("/talkdesk/events", id, `{"cdestination":"standalone","customerId":"contact-1","interactionId":"`+id+`"`+filling+`}`))
	})
	s.toBroker.Heal()
	s.mustStore("after")
	s.awaitLinks("after")
	if got := s.messagesIn(messages.DeadLettersStream); got != 0 {
		t.Errorf("dead letters: got %d, want none", got)
	}
}
