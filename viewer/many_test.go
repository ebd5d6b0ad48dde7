package viewer_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// maxMemory bounds the memory of the whole program, with all cards open.
const maxMemory = 150 << 20

// heard is a state that a card received, and its time.
type heard struct {
	generation string
	at         time.Time
}

// TestManyCards opens many cards, each of its own conversation. Each card receives its new
// links.
func TestManyCards(t *testing.T) {
	p := newProgram(t)
	cards := make([]<-chan heard, openCards)
	addresses := make([]string, openCards)
	each(openCards, func(i int) { addresses[i] = p.post(t, "/talkdesk/events", startOf(i)).Fields["cardUrl"] })
	for i, address := range addresses {
		if address == "" {
			t.Fatalf("event %d: got no address of a card, want one", i)
		}
		cards[i] = listener(t, address)
	}
	for _, card := range cards {
		awaitGeneration(t, card, "1")
	}
	memory := p.inUse(t)
	if memory > maxMemory {
		t.Errorf("memory: got %d MB, want at most %d MB", memory>>20, maxMemory>>20)
	}
	asked := make([]time.Time, openCards)
	each(openCards, func(i int) {
		asked[i] = time.Now()
		if got := programtest.Ask(t, http.MethodPost, addresses[i]+"/renew", ""); got.Status != http.StatusAccepted {
			t.Errorf("renewal of card %d: got %d, want 202", i, got.Status)
		}
	})
	var took []time.Duration
	for i, card := range cards {
		took = append(took, awaitGeneration(t, card, "2").at.Sub(asked[i]))
	}
	slices.Sort(took)
	t.Logf("%d cards: %d MB in use, %s resident; half received their new links within %v of the request, all within %v",
		openCards, memory>>20, p.resident(), took[len(took)/2], took[len(took)-1])
}

// startOf returns the event of a conversation.
func startOf(i int) map[string]any {
	return map[string]any{"event": "inbound_call_starts", "interaction_id": fmt.Sprintf("card-%d", i), "contact_id": "contact-1"}
}

// each calls do for every number below n, with some calls at the same time.
func each(n int, do func(i int)) {
	var group errgroup.Group
	group.SetLimit(16)
	for i := range n {
		group.Go(func() error {
			do(i)
			return nil
		})
	}
	_ = group.Wait()
}

// awaitGeneration waits until a card receives links of a generation.
func awaitGeneration(tb testing.TB, card <-chan heard, want string) heard {
	tb.Helper()
	for {
		if got := roomlinktest.Receive(tb, card, "links of generation "+want); got.generation == want {
			return got
		}
	}
}

// inUse returns the memory that the program reports after a garbage collection.
func (p *program) inUse(tb testing.TB) int {
	tb.Helper()
	operations := p.Address("operations")
	call(tb, http.MethodGet, operations+"/debug/pprof/heap?gc=1")
	metrics := call(tb, http.MethodGet, operations+"/metrics").Body
	sum := 0.0
	for _, kind := range []string{"heap", "stack"} {
		found := regexp.MustCompile(`(?m)^go_memstats_` + kind + `_inuse_bytes (.*)$`).FindStringSubmatch(metrics)
		if found == nil {
			tb.Fatalf("metrics: got none of the %s, want its size", kind)
		}
		value, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			tb.Fatalf("reading a metric: %v", err)
		}
		sum += value
	}
	return int(sum)
}

// resident returns the resident memory of the process, if the system reports it.
func (p *program) resident() string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	found := regexp.MustCompile(`VmRSS:\s+(\d+ kB)`).FindSubmatch(status)
	if found == nil {
		return "unknown"
	}
	return string(found[1])
}

// listener is a card that needs little memory: a connection and a small buffer.
func listener(tb testing.TB, card string) <-chan heard {
	tb.Helper()
	conn := dial(tb, card+"/events")
	states, ended := make(chan heard, 16), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(conn)
		lines.Buffer(make([]byte, 0, 1<<10), 64<<10)
		for lines.Scan() {
			var state struct{ Generation string }
			data, found := strings.CutPrefix(lines.Text(), "data: ")
			if !found || json.Unmarshal([]byte(data), &state) != nil {
				continue
			}
			select {
			case states <- heard{state.Generation, time.Now()}:
			case <-tb.Context().Done():
			}
		}
	}()
	tb.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	return states
}

// dial requests an address on a plain connection.
func dial(tb testing.TB, address string) *net.TCPConn {
	tb.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		tb.Fatalf("reading an address: %v", err)
	}
	conn, err := new(net.Dialer).DialContext(roomlinktest.Context(tb), "tcp", parsed.Host)
	if err != nil {
		tb.Fatalf("connecting: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	// An answer in HTTP/1.0 has no chunks.
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", parsed.RequestURI(), parsed.Host); err != nil {
		tb.Fatalf("asking for the events of a card: %v", err)
	}
	return conn.(*net.TCPConn)
}

// narrow gives the server small write buffers.
type narrow struct{ net.Listener }

// Accept implements [net.Listener].
func (n narrow) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return conn, conn.(*net.TCPConn).SetWriteBuffer(4 << 10)
}

// The server drops a browser that does not read. Until then other browsers are not
// delayed.
func TestSlowCardIsDropped(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it waits for a write to time out")
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
	s.links(t, roomlinktest.Conversation("a"))
	card := s.pagesOf("a").Card
	slow := dial(t, card+"/events?slow")
	if err := slow.SetReadBuffer(2 << 10); err != nil {
		t.Fatalf("narrowing a connection: %v", err)
	}
	if _, err := slow.Read(make([]byte, 1)); err != nil {
		t.Fatalf("reading the beginning: %v", err)
	}
	quick := s.follow(t, card)
	quick.wantNext(t, store.StatusReady)
	for generation := 2; generation <= 6; generation++ {
		large := fmt.Sprintf("https://video.example/%d?%s", generation, strings.Repeat("x", 40<<10))
		s.renewed(t, roomlinktest.Conversation("a"), func(l *messages.Links) { l.AgentURL = large })
		if got := quick.wantNext(t, store.StatusReady); got["agentUrl"] != large {
			t.Fatalf("quick card: got generation %s, want %d", got["generation"], generation)
		}
	}
	if got := roomlinktest.Receive(t, ended, "the end of the slow one"); got != "slow" {
		t.Errorf("ended: got the answer to %q, want that to the slow card", got)
	}
	s.renewed(t, roomlinktest.Conversation("a"))
	quick.wantNext(t, store.StatusReady)
}
