package viewer_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"roomlink/messages"
)

// maxMemory is what a viewer with all its cards open may use, its broker and the
// cards themselves, which are in this process too, included.
const maxMemory = 150 << 20

// heard is a state that a card heard, and when.
type heard struct {
	generation string
	at         time.Time
}

// TestManyCards opens many cards, each of a conversation of its own, and each hears
// of its new links.
func TestManyCards(t *testing.T) {
	s := newSite(t)
	cards := make([]<-chan heard, openCards)
	for i := range cards {
		s.links(t, numbered(i))
		cards[i] = s.listener(t, s.pages.For(numbered(i), time.Now()).Card)
	}
	for i, card := range cards {
		if got := receive(t, card, "the first state"); got.generation != "1" {
			t.Fatalf("card %d: got generation %q first, want 1", i, got.generation)
		}
	}
	memory := inUse()
	if memory > maxMemory {
		t.Errorf("memory: got %d MB, want at most %d MB", memory>>20, maxMemory>>20)
	}
	published := make([]time.Time, openCards)
	for i := range cards {
		published[i] = time.Now()
		s.renewed(t, numbered(i))
	}
	var took []time.Duration
	for i, card := range cards {
		got := receive(t, card, "the new links")
		for got.generation == "1" { // told again, as a card is that was told nothing for long
			got = receive(t, card, "the new links")
		}
		took = append(took, got.at.Sub(published[i]))
	}
	slices.Sort(took)
	t.Logf("%d cards: %d MB in all; they heard of new links within %v (half) and %v (all) of the start of their publishing",
		openCards, memory>>20, took[len(took)/2], took[len(took)-1])
}

func numbered(i int) messages.Conversation { return conversation(fmt.Sprintf("card-%d", i)) }

// inUse is the memory that this process uses.
func inUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse + stats.StackInuse
}

// listener is a card that needs next to nothing itself: a connection and a small
// buffer.
func (s *site) listener(tb testing.TB, card string) <-chan heard {
	tb.Helper()
	conn := s.dial(tb, card+"/events")
	states := make(chan heard, 4)
	go func() {
		defer close(states)
		lines := bufio.NewScanner(conn)
		lines.Buffer(make([]byte, 0, 1<<10), 64<<10)
		for lines.Scan() {
			var state struct{ Generation string }
			data, found := strings.CutPrefix(lines.Text(), "data: ")
			if found && json.Unmarshal([]byte(data), &state) == nil {
				states <- heard{state.Generation, time.Now()}
			}
		}
	}()
	return states
}

// dial asks for an address on a bare connection.
func (s *site) dial(tb testing.TB, address string) *net.TCPConn {
	tb.Helper()
	host := strings.TrimPrefix(s.url, "http://")
	conn, err := new(net.Dialer).DialContext(limited(tb), "tcp", host)
	if err != nil {
		tb.Fatalf("connecting: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	// Of HTTP/1.0, so that the answer has no chunks.
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", strings.TrimPrefix(address, s.url), host); err != nil {
		tb.Fatalf("asking for %s: %v", address, err)
	}
	return conn.(*net.TCPConn)
}

// narrow has the server keep little of what a browser does not take.
type narrow struct{ net.Listener }

// Accept implements [net.Listener].
func (n narrow) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn, conn.(*net.TCPConn).SetWriteBuffer(4 << 10)
}

// A browser that takes nothing is dropped, and holds up nobody until it is.
func TestSlowCardIsDropped(t *testing.T) {
	ended := make(chan string, 16)
	s := newSite(t, func(s *site) {
		s.through = func(listener net.Listener) net.Listener { return narrow{listener} }
		s.wrap = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended <- r.URL.RawQuery }()
				next.ServeHTTP(w, r)
			})
		}
	})
	s.links(t, conversation("a"))
	card := s.pagesOf("a").Card
	slow := s.dial(t, card+"/events?slow")
	if err := slow.SetReadBuffer(2 << 10); err != nil {
		t.Fatalf("narrowing a connection: %v", err)
	}
	if _, err := slow.Read(make([]byte, 1)); err != nil {
		t.Fatalf("reading the beginning: %v", err)
	}
	quick := s.follow(t, card)
	quick.wantNext(t, messages.StatusReady)
	for generation := 2; generation <= 6; generation++ {
		large := fmt.Sprintf("https://video.example/%d?%s", generation, strings.Repeat("x", 40<<10))
		s.renewed(t, conversation("a"), func(l *messages.Links) { l.AgentURL = large })
		if got := quick.wantNext(t, messages.StatusReady); got["agentUrl"] != large {
			t.Fatalf("quick card: got generation %s, want %d", got["generation"], generation)
		}
	}
	if got := receive(t, ended, "the end of the slow one"); got != "slow" {
		t.Errorf("ended: got the answer to %q, want that to the slow card", got)
	}
	s.renewed(t, conversation("a"))
	quick.wantNext(t, messages.StatusReady)
}
