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

// TestBrokerNetwork breaks the network to the broker while events arrive.
func TestBrokerNetwork(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		toxics []roomlinktest.Toxic
		// cut closes the connections first, so that new ones are affected too.
		cut bool
		// refuses means that no event can be stored meanwhile.
		refuses bool
	}{
		{name: "latency", toxics: roomlinktest.BothWays("latency", map[string]int{"latency": 300, "jitter": 200})},
		{name: "bandwidth", toxics: roomlinktest.BothWays("bandwidth", map[string]int{"rate": 8})},
		{name: "slices", toxics: roomlinktest.BothWays("slicer", map[string]int{"average_size": 20, "size_variation": 10, "delay": 100})},
		{name: "stall", toxics: roomlinktest.BothWays("latency", map[string]int{"latency": 6000}), refuses: true},
		{name: "black hole", toxics: roomlinktest.BlackHole(), refuses: true},
		{name: "black hole for requests", toxics: roomlinktest.BlackHole()[:1], refuses: true},
		{name: "black hole for replies", toxics: roomlinktest.BlackHole()[1:], refuses: true},
		{name: "resets", toxics: roomlinktest.BothWays("reset_peer", map[string]int{"timeout": 0}), refuses: true},
		{name: "resets of new connections", toxics: roomlinktest.BothWays("reset_peer", map[string]int{"timeout": 0}), cut: true, refuses: true},
		{
			name: "connections that close, and close slowly",
			toxics: append(roomlinktest.BothWays("limit_data", map[string]int{"bytes": 6000}),
				roomlinktest.BothWays("slow_close", map[string]int{"delay": 2000})...),
		},
		{name: "refused", cut: true, refuses: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, settings{})
			ids, _ := s.flood("before", 5, 5)
			s.awaitLinks(ids...)

			if test.cut {
				s.toBroker.Cut()
			}
			s.toBroker.AddToxics(test.toxics...)
			if test.cut && test.toxics != nil {
				s.toBroker.Open()
			}
			stored, refused := s.flood("while", 24, 6)
			if test.refuses && len(stored) > 0 {
				t.Errorf("events stored meanwhile: got %v, want none", stored)
			}
			s.toBroker.RemoveToxics()
			if test.cut && test.toxics == nil {
				s.toBroker.Open()
			}
			// A refused event may be stored, if only its acknowledgement was lost.
			for _, id := range refused {
				s.mustStore(id)
			}
			s.mustStore("after")
			s.wantDone(append(append(append(ids, stored...), refused...), "after"))
		})
	}
}

// A load balancer without servers accepts connections and never answers. Requests must not
// wait for such a connection.
func TestSilentBroker(t *testing.T) {
	t.Parallel()
	s := newSystem(t, settings{})
	ids, _ := s.flood("before", 5, 5)
	s.awaitLinks(ids...)
	s.toBroker.Cut()
	broker := s.toBroker.Redirect(listenSilently(t))
	s.toBroker.Open()
	// Requests arrive at every stage of several attempts to connect.
	stored, refused := s.spread("while", 120, 8*time.Second)
	if len(stored) > 0 {
		t.Errorf("events stored meanwhile: got %v, want none", stored)
	}
	s.toBroker.Cut()
	s.toBroker.Redirect(broker)
	s.toBroker.Open()
	for _, id := range refused {
		s.mustStore(id)
	}
	s.wantDone(append(ids, refused...))
}

// listenSilently listens and never answers.
func listenSilently(tb testing.TB) (address string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	tb.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// When the network accepts no more bytes, writes must time out and requests must not wait for
// them.
func TestBrokerStopsReading(t *testing.T) {
	t.Parallel()
	s := newSystem(t, settings{})
	s.toBroker.AddToxics(roomlinktest.BothWays("bandwidth", map[string]int{"rate": 1})...)
	// The largest events that the webhook accepts fill the kernel's buffers.
	const events, concurrency = 1600, 400
	filling := fmt.Sprintf(`,"applicationId":%q,"organizationId":%q,"urlBase":%q`,
		strings.Repeat("a", 2000), strings.Repeat("o", 2000), "https://auvious.test/"+strings.Repeat("u", 2000))
	s.inParallel(events, concurrency, func(i int) {
		id := fmt.Sprintf("call-%d", i)
		s.wantInTime(s.send("/talkdesk/events", id, `{"cdestination":"standalone","customerId":"contact-1","interactionId":"`+id+`"`+filling+`}`))
	})
	s.toBroker.RemoveToxics()
	s.mustStore("after")
	s.awaitLinks("after")
	if got := s.messagesIn(messages.DeadLettersStream); got != 0 {
		t.Errorf("dead letters: got %d, want none", got)
	}
}
