package viewer_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// secured makes a site serve HTTPS, and HTTP/2 as in production.
func secured(s *site) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	config := server.TLS.Clone()
	server.Close()
	config.NextProtos = []string{"h2", "http/1.1"}
	s.through = func(listener net.Listener) net.Listener { return tls.NewListener(listener, config) }
	s.url = strings.Replace(s.url, "http://", "https://", 1)
	s.pages.BaseURL, s.config.Pages.BaseURL = s.url, s.url
}

// dialer returns a transport of its own, with its own connections.
func dialer(tb testing.TB, http2 bool) *http.Transport {
	tb.Helper()
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: http2,
		HTTP2:             &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10},
	}
	tb.Cleanup(transport.CloseIdleConnections)
	return transport
}

// ask opens an address on a transport, and checks the protocol of the answer.
func ask(tb testing.TB, transport *http.Transport, address, protocol string) *http.Response {
	tb.Helper()
	r, err := http.NewRequestWithContext(roomlinktest.Context(tb), http.MethodGet, address, nil)
	if err != nil {
		tb.Fatalf("making a request: %v", err)
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		tb.Fatalf("asking for the events of a card: %v", err)
	}
	tb.Cleanup(func() { _ = answer.Body.Close() })
	if answer.Proto != protocol || answer.StatusCode != http.StatusOK {
		tb.Fatalf("got %d over %s, want 200 over %s", answer.StatusCode, answer.Proto, protocol)
	}
	return answer
}

// A stream outlives every deadline of the server: the deadline of an answer, and that of each write. It still
// delivers after it has repeated its state, which takes longer than these.
func TestStreamOutlivesItsDeadlines(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it waits until a stream repeats its state")
	short := func(s *site) { s.answerTimeout = time.Second }
	for name, test := range map[string]struct {
		edits    []func(*site)
		protocol string
		// through returns the base URL at which browsers reach the site.
		through func(*testing.T, *site) string
	}{
		"HTTP/1.1": {[]func(*site){short}, "HTTP/1.1", direct},
		"TLS":      {[]func(*site){short, secured}, "HTTP/1.1", direct},
		"HTTP/2":   {[]func(*site){short, secured}, "HTTP/2.0", direct},
		"nginx":    {[]func(*site){short}, "HTTP/1.1", behindNginx},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			s := newSite(t, test.edits...)
			base := test.through(t, s)
			s.links(t, roomlinktest.Conversation("a"))
			card := strings.Replace(s.pagesOf("a").Card, s.url, base, 1)
			events := newStream(ask(t, dialer(t, test.protocol == "HTTP/2.0"), card+"/events", test.protocol))
			events.wantNext(t, store.StatusReady)
			for range 2 {
				events.wantRepeated(t)
			}
			s.renewed(t, roomlinktest.Conversation("a"))
			if got := events.wantNext(t, store.StatusReady); got["generation"] != "2" {
				t.Errorf("after the renewal: got generation %s, want 2", got["generation"])
			}
		})
	}
}

func direct(_ *testing.T, s *site) string { return s.url }

// wantRepeated checks that the stream repeats its state.
func (s *stream) wantRepeated(tb testing.TB) {
	tb.Helper()
	last := s.last
	s.last = ""
	if state, ok := s.next(tb); !ok || state["version"] != last {
		tb.Fatalf("got %v (there: %v) and error %v, want the state repeated", state, ok, s.lines.Err())
	}
}

// Over HTTP/2 too, the server drops a browser that does not read, and no other stream of its connection.
func TestSlowStreamIsDroppedOverHTTP2(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it waits for a write to time out")
	ended := make(chan string, 16)
	s := newSite(t, secured, func(s *site) {
		s.wrap = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended <- r.URL.RawQuery }()
				next.ServeHTTP(w, r)
			})
		}
	})
	s.links(t, roomlinktest.Conversation("a"))
	transport := dialer(t, true)
	card := s.pagesOf("a").Card
	ask(t, transport, card+"/events?slow", "HTTP/2.0")
	quick := newStream(ask(t, transport, card+"/events?quick", "HTTP/2.0"))
	quick.wantNext(t, store.StatusReady)
	for range 6 {
		large := "https://video.example/?" + strings.Repeat("x", 30<<10)
		s.renewed(t, roomlinktest.Conversation("a"), func(l *messages.Links) { l.AgentURL = large })
		quick.wantNext(t, store.StatusReady)
	}
	if got := roomlinktest.Receive(t, ended, "the end of the slow one"); got != "slow" {
		t.Errorf("ended: got the answer to %q, want that to the slow card", got)
	}
	s.renewed(t, roomlinktest.Conversation("a"))
	quick.wantNext(t, store.StatusReady)
}

// A page that cannot have a stream polls: the answer is an event of its stream.
func TestStateAgreesWithTheStream(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	for _, id := range []string{"ready", "pending", "failed", "unknown", "expired", "renewing", "renewal failed"} {
		pages := s.pagesOf(id)
		for _, address := range []string{pages.Card, pages.Context, pages.Customer} {
			event, ok := s.follow(t, address).next(t)
			got := s.do(t, http.MethodGet, address+"/state")
			polled := got.Flat(t)
			got.wantSecure(t)
			delete(event, "now")
			delete(polled, "now")
			for name, want := range event {
				if polled[name] != want {
					t.Errorf("%s: %s: got %q, want %q", id, name, polled[name], want)
				}
			}
			if !ok || got.Status != http.StatusOK || len(polled) != len(event) {
				t.Errorf("%s: got %d %v, want the event %v", id, got.Status, polled, event)
			}
		}
	}
}

// An expired conversation shows soon that it is being renewed, though nothing reports the event.
func TestStreamSeesARenewalBegin(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"), expired)
	events := s.follow(t, s.pagesOf("a").Card)
	events.wantNext(t, store.StatusExpired)
	s.start(t, roomlinktest.Conversation("a"), 1)
	events.wantNext(t, store.StatusPending)
}

// The pages of an account that is removed end at once, and those of an account that comes back exist again.
func TestPagesOfARemovedAccount(t *testing.T) {
	s := newSite(t)
	theirs := messages.Conversation{Account: other, InteractionID: "a"}
	s.links(t, theirs)
	s.links(t, roomlinktest.Conversation("a"))
	pages, stays := s.pages.For(theirs, time.Now()), s.pagesOf("a")
	events, staying := s.follow(t, pages.Card), s.follow(t, stays.Card)
	events.wantNext(t, store.StatusReady)
	staying.wantNext(t, store.StatusReady)

	s.viewer.SetAccounts([]accounts.Account{{Name: account}})
	if state, ok := events.next(t); ok || events.lines.Err() != nil {
		t.Errorf("stream: got %v and error %v, want the end", state, events.lines.Err())
	}
	for _, call := range []struct{ method, address string }{
		{http.MethodGet, pages.Card},
		{http.MethodGet, pages.Card + "."},
		{http.MethodGet, pages.Context},
		{http.MethodGet, pages.Customer},
		{http.MethodPost, pages.Customer},
	} {
		s.do(t, call.method, call.address).wantPage(t, http.StatusNotFound, textInvalid)
	}
	for _, call := range []struct{ method, address string }{
		{http.MethodPost, pages.Card + "/renew"},
		{http.MethodGet, pages.Card + "/events"},
		{http.MethodGet, pages.Card + "/state"},
		{http.MethodGet, pages.Card + "/qr.svg"},
		{http.MethodGet, pages.Customer + "/events"},
		{http.MethodGet, pages.Context + "/state"},
	} {
		s.do(t, call.method, call.address).WantError(t, http.StatusNotFound, "bad_token")
	}
	s.renewed(t, roomlinktest.Conversation("a"))
	staying.wantNext(t, store.StatusReady)

	s.viewer.SetAccounts([]accounts.Account{{Name: account}, {Name: other}})
	s.follow(t, pages.Card).wantNext(t, store.StatusReady)
	s.do(t, http.MethodPost, pages.Customer).wantRedirect(t, http.StatusSeeOther, ticketURL)
}

// A page has a bounded number of event streams, whichever of its addresses is used. One that ends makes room.
func TestStreamsOfAPageAreBounded(t *testing.T) {
	s := newSite(t)
	pages := s.pages.For(roomlinktest.Conversation("a"), time.Now())
	again := s.pages.For(roomlinktest.Conversation("a"), time.Now().Add(24*time.Hour))
	var first *stream
	for i := range 20 {
		address := pages.Card
		if i%2 == 1 {
			address = again.Card
		}
		opened := s.follow(t, address)
		if i == 0 {
			first = opened
		}
	}
	refused := s.do(t, http.MethodGet, again.Card+"/events")
	refused.WantError(t, http.StatusTooManyRequests, "too_many_requests")
	if got := s.do(t, http.MethodGet, pages.Card+"/state"); got.Status != http.StatusOK {
		t.Errorf("state of the page: got %d, want 200", got.Status)
	}
	s.follow(t, pages.Customer)                                               // another page
	s.follow(t, s.pages.For(roomlinktest.Conversation("b"), time.Now()).Card) // another conversation
	_ = first.close()
	for answer := refused.Status; answer != http.StatusOK; {
		opened := open(t, http.MethodGet, pages.Card+"/events")
		answer = opened.StatusCode
		t.Cleanup(func() { _ = opened.Body.Close() })
		if err := roomlinktest.Context(t).Err(); err != nil {
			t.Fatal("a stream after one has ended: got 429, want 200")
		}
	}
}
