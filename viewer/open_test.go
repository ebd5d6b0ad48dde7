package viewer_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// The texts that identify the pages.
const (
	textReady   = "Your video room is ready"
	textWaiting = "Your video room is on its way"
	textUnknown = "There is no video room yet"
	textFailed  = "There is no video room"
	textExpired = "This link has expired"
	textRevoked = "This link was revoked"
	textInvalid = "This link does not work"
	textOutage  = "One moment, please"

	textUnusable = "This room cannot be opened"

	markWaiting = `http-equiv="refresh"`
	markJoin    = `<form method="post">`
)

// pagesOf returns the addresses of the pages of a conversation in [account].
func (s *site) pagesOf(id string) access.Addresses {
	return s.pages.For(roomlinktest.Conversation(id), time.Now())
}

func TestOpenAsAgent(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	for _, id := range []string{"ready", "endless", "expired", "renewing early", "renewal failed"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			s.do(t, method, s.pagesOf(id).Context).wantRedirect(t, http.StatusFound, agentURL)
		}
	}
	for id, want := range map[string]string{
		"pending": textWaiting, "revoked and renewing": textWaiting, "unknown": textUnknown, "failed": textFailed,
		"renewal after revocation failed": textFailed, "revoked": textRevoked,
	} {
		got := s.do(t, http.MethodGet, s.pagesOf(id).Context)
		got.wantPage(t, statusOf(want), "<h1>"+want+"</h1>")
		wantsReload := want == textWaiting || want == textUnknown
		if waits := strings.Contains(got.Body, markWaiting); waits != wantsReload {
			t.Errorf("%s: got a page that reloads: %v, want %v", id, waits, wantsReload)
		}
		if head := s.do(t, http.MethodHead, s.pagesOf(id).Context); head.Status != statusOf(want) || head.Body != "" {
			t.Errorf("%s: HEAD: got %d and %q, want %d and nothing", id, head.Status, head.Body, statusOf(want))
		}
	}
}

// statusOf returns the HTTP status of a page with a text.
func statusOf(text string) int {
	if text == textRevoked {
		return http.StatusGone
	}
	return http.StatusOK
}

func TestOpenAsCustomer(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	for id, want := range map[string]string{
		"ready": textReady, "endless": textReady, "renewing early": textReady, "renewal failed": textReady,
		"pending": textWaiting, "renewing": textWaiting, "unknown": textUnknown, "failed": textFailed, "expired": textExpired,
		"revoked": textRevoked, "revoked and renewing": textWaiting, "renewal after revocation failed": textFailed,
	} {
		t.Run(id, func(t *testing.T) {
			address := s.pagesOf(id).Customer
			got := s.do(t, http.MethodGet, address)
			got.wantPage(t, statusOf(want), "<h1>"+want+"</h1>")
			waits := want == textWaiting || want == textUnknown
			if strings.Contains(got.Body, markJoin) != (want == textReady) || strings.Contains(got.Body, markWaiting) != waits {
				t.Errorf("got\n%s\nwant a button: %v, and a reload: %v", got.Body, want == textReady, waits)
			}
			if policy := got.Header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, "frame-ancestors 'none'") {
				t.Errorf("Content-Security-Policy: got %q, want one that shows it in no frame", policy)
			}
			if head := s.do(t, http.MethodHead, address); head.Status != statusOf(want) || head.Body != "" {
				t.Errorf("HEAD: got %d and %q, want %d and nothing", head.Status, head.Body, statusOf(want))
			}
			joined := s.do(t, http.MethodPost, address)
			if want == textReady {
				joined.wantRedirect(t, http.StatusSeeOther, ticketURL)
			} else {
				joined.wantPage(t, statusOf(want), "<h1>"+want+"</h1>")
			}
		})
	}
}

// The customer's link stays the same, and leads to the newest ticket.
func TestCustomerLinkOutlivesARenewal(t *testing.T) {
	s := newSite(t)
	address := s.pagesOf("a").Customer
	s.do(t, http.MethodPost, address).wantPage(t, http.StatusOK, textUnknown)
	s.links(t, roomlinktest.Conversation("a"), expired)
	s.do(t, http.MethodPost, address).wantPage(t, http.StatusOK, textExpired)
	old, err := s.store.Links(roomlinktest.Context(t), roomlinktest.Conversation("a"), store.Leader)
	if err != nil {
		t.Fatalf("reading the links: %v", err)
	}
	renewed := old.Data
	renewed.Generation, renewed.ExpiresAt, renewed.TicketURL = 2, later, "https://video.example/t/second-ticket"
	roomlinktest.PublishLinks(t, s.store, messages.NewEvent(roomlinktest.Noon, renewed), old.Sequence)
	s.do(t, http.MethodPost, address).wantRedirect(t, http.StatusSeeOther, "https://video.example/t/second-ticket")
}

// senders are the headers of requests that browsers send from our pages, directly and behind proxies.
var senders = map[string][]edit{
	"no browser":                            nil,
	"our page":                              {with("Sec-Fetch-Site", "same-origin")},
	"an older browser behind a proxy":       {with("Origin", "https://rooms.example")},
	"a browser without an origin":           {with("Origin", "null")},
	"a sandboxed frame":                     {with("Sec-Fetch-Site", "cross-site"), with("Origin", "null")},
	"a typed address":                       {with("Sec-Fetch-Site", "none")},
	"another site that knows the address":   {with("Sec-Fetch-Site", "cross-site"), with("Origin", "https://desk.example")},
	"a neighbouring site, in a new browser": {with("Sec-Fetch-Site", "same-site"), with("Origin", "https://x.rooms.example")},
}

// The token in the address is the whole authority, so it does not matter which site a request comes from.
func TestEverySenderMayUseAnAddress(t *testing.T) {
	s := newSite(t)
	for name, edits := range senders {
		t.Run(name, func(t *testing.T) {
			s.links(t, roomlinktest.Conversation(name))
			pages := s.pagesOf(name)
			s.do(t, http.MethodPost, pages.Customer, edits...).wantRedirect(t, http.StatusSeeOther, ticketURL)
			answer := open(t, http.MethodGet, pages.Card+"/events", edits...)
			wantReadable(t, answer.Header)
			newStream(answer).wantNext(t, store.StatusReady)
			_ = answer.Body.Close()
			for _, address := range []string{pages.Card + "/state", pages.Customer + "/state", s.url + "/assets/card.js"} {
				got := s.do(t, http.MethodGet, address, edits...)
				if got.Status != http.StatusOK {
					t.Errorf("got %d, want 200", got.Status)
				}
				wantReadable(t, got.Header)
			}
			renewed := s.do(t, http.MethodPost, pages.Card+"/renew", edits...)
			if renewed.Status != http.StatusAccepted {
				t.Errorf("renewing: got %d %s, want 202", renewed.Status, renewed.Body)
			}
			wantReadable(t, renewed.Header)
			wantReadable(t, s.do(t, http.MethodGet, pages.Card+"x/state", edits...).Header)
		})
	}
	s.links(t, roomlinktest.Conversation("a"))
	for _, path := range []string{"/links/a", "/links/nobody"} {
		if got := s.do(t, http.MethodGet, path, withKey(apiKey), with("Origin", "null")).Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s: got Access-Control-Allow-Origin %q, want none: it needs credentials", path, got)
		}
	}
}

// wantReadable checks that a page of every origin may read an answer.
func wantReadable(tb testing.TB, header http.Header) {
	tb.Helper()
	if got := header.Get("Access-Control-Allow-Origin"); got != "*" {
		tb.Errorf("Access-Control-Allow-Origin: got %q, want *", got)
	}
}

func TestOpenWithBadTokens(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"))
	pages, old := s.pagesOf("a"), s.pages.For(roomlinktest.Conversation("a"), time.Now().Add(-2*time.Hour))
	keys, err := access.NewKeys("another invented key of 32 bytes or more")
	if err != nil {
		t.Fatalf("making keys: %v", err)
	}
	foreign := access.Pages{Keys: keys, BaseURL: s.url, Lifetime: time.Hour}.For(roomlinktest.Conversation("a"), time.Now())
	bearer := s.pages.Keys.Sign(access.Claims{Purpose: access.PurposeAccess, Account: account, Subject: "a", Expires: time.Now().Add(time.Hour)})
	asOpen := func(address string) string { return strings.Replace(address, "/card/", "/open/", 1) }
	asCard := func(address string) string { return strings.Replace(address, "/open/", "/card/", 1) }
	for _, test := range []struct {
		name, address string
		status        int
		text          string
	}{
		{"agent, cut", pages.Context[:len(pages.Context)-1], 404, textInvalid},
		{"agent, longer", pages.Context + "A", 404, textInvalid},
		{"agent, expired", old.Context, 410, textExpired},
		{"agent, of another key", foreign.Context, 404, textInvalid},
		{"customer, cut", pages.Customer[:len(pages.Customer)-1], 404, textInvalid},
		{"customer, expired", old.Customer, 410, textExpired},
		{"customer, of another key", foreign.Customer, 404, textInvalid},
		{"the card's as a link", asOpen(pages.Card), 404, textInvalid},
		{"an access token as a link", s.url + "/open/" + bearer, 404, textInvalid},
		{"no token", s.url + "/open/x", 404, textInvalid},
		{"a script", s.url + "/open/%3Cscript%3Ealert(1)%3C%2Fscript%3E", 404, textInvalid},
		{"the card, cut", pages.Card[:len(pages.Card)-1], 404, textInvalid},
		{"the card, expired", old.Card, 410, textExpired},
		{"the card, of another key", foreign.Card, 404, textInvalid},
		{"the agent's as a card", asCard(pages.Context), 404, textInvalid},
		{"the customer's as a card", asCard(pages.Customer), 404, textInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.do(t, http.MethodGet, test.address)
			got.wantPage(t, test.status, test.text)
			if strings.Contains(got.Body, "<script>alert") || strings.Contains(got.Body, agentURL) {
				t.Errorf("got\n%s\nwant neither script nor links", got.Body)
			}
		})
	}
	// Only the customer's link may join.
	for name, address := range map[string]string{
		"agent": pages.Context, "card": asOpen(pages.Card), "customer, cut": pages.Customer[:len(pages.Customer)-1],
	} {
		t.Run("join as "+name, func(t *testing.T) {
			s.do(t, http.MethodPost, address).wantPage(t, http.StatusNotFound, textInvalid)
		})
	}
	s.do(t, http.MethodPost, old.Customer).wantPage(t, http.StatusGone, textExpired)
}

func TestOpenMethods(t *testing.T) {
	s := newSite(t)
	pages := s.pagesOf("a")
	for _, test := range []struct{ method, address, allow string }{
		{http.MethodPut, pages.Customer, "GET, HEAD, POST"},
		{http.MethodDelete, pages.Context, "GET, HEAD, POST"},
		{http.MethodPost, pages.Card, "GET, HEAD"},
		{http.MethodPost, pages.Card + "/events", "GET"},
		{http.MethodPost, pages.Customer + "/events", "GET"},
		{http.MethodGet, pages.Card + "/renew", "POST"},
		{http.MethodPost, pages.Card + "/qr.svg", "GET, HEAD"},
	} {
		got := s.do(t, test.method, test.address)
		got.wantPage(t, http.StatusMethodNotAllowed, textInvalid)
		if allow := strings.Join(got.Header.Values("Allow"), ", "); allow != test.allow {
			t.Errorf("%s: got Allow %q, want %q", test.method, allow, test.allow)
		}
	}
	s.do(t, http.MethodPost, "/assets/card.js").WantError(t, http.StatusMethodNotAllowed, "method_not_allowed")
}

// The events of a page contain only the name of the page.
func TestOpenEvents(t *testing.T) {
	s := newSite(t)
	for _, as := range []struct {
		id, ready string
		address   func(access.Addresses) string
	}{
		{"agent", "room", func(a access.Addresses) string { return a.Context }},
		{"customer", "join", func(a access.Addresses) string { return a.Customer }},
	} {
		t.Run(as.id, func(t *testing.T) {
			events := s.follow(t, as.address(s.pagesOf(as.id)))
			want := func(name string) {
				t.Helper()
				if state, ok := events.next(t); !ok || len(state) != 1 || state["version"] != name {
					t.Fatalf("next page: got %v (there: %v), want %q", state, ok, name)
				}
			}
			want("unknown")
			s.fail(t, roomlinktest.Conversation(as.id), messages.ReasonRejected)
			want("failed")
			s.links(t, roomlinktest.Conversation(as.id))
			want(as.ready)
			s.revoke(t, roomlinktest.Conversation(as.id))
			want("revoked")
			s.renewed(t, roomlinktest.Conversation(as.id), notRevoked)
			want(as.ready)
		})
	}
}

func TestOpenEventsWithBadTokens(t *testing.T) {
	s := newSite(t)
	pages, old := s.pagesOf("a"), s.pages.For(roomlinktest.Conversation("a"), time.Now().Add(-2*time.Hour))
	s.do(t, http.MethodGet, pages.Context+"x/events").WantError(t, http.StatusNotFound, "bad_token")
	s.do(t, http.MethodGet, strings.Replace(pages.Card, "/card/", "/open/", 1)+"/events").WantError(t, http.StatusNotFound, "bad_token")
	s.do(t, http.MethodGet, old.Context+"/events").WantError(t, http.StatusGone, "bad_token")
	s.do(t, http.MethodGet, old.Customer+"/events").WantError(t, http.StatusGone, "bad_token")
}

// No browser may run text from auvious or Talkdesk.
func TestHostileLinks(t *testing.T) {
	s := newSite(t)
	const script = `"><script>alert(1)</script>`
	for name, target := range map[string]string{
		"javascript": "javascript:alert(1)", "JavaScript": "JavaScript:alert(1)//https://x", "data": "data:text/html," + script,
		"relative": "/open/x", "no scheme": "//evil.example/", "a line end": "https://video.example/\r\nX: y", "ftp": "ftp://video.example/",
	} {
		t.Run(name, func(t *testing.T) {
			s.links(t, roomlinktest.Conversation(name), func(l *messages.Links) {
				l.AgentURL, l.RecordingURL, l.TicketURL = target, target, messages.Secret(target)
			})
			pages := s.pagesOf(name)
			for method, address := range map[string]string{http.MethodGet: pages.Context, http.MethodPost: pages.Customer} {
				got := s.do(t, method, address)
				got.wantPage(t, http.StatusNotFound, textUnusable)
				if got.Header.Get("X") != "" {
					t.Errorf("%s: got a header of the target, want none", method)
				}
			}
			card := s.do(t, http.MethodGet, pages.Card)
			card.wantPage(t, http.StatusOK, "Video room ready")
			state, _ := s.follow(t, pages.Card).next(t)
			if urls := state["agentUrl"] + state["recordingUrl"]; urls != "" {
				t.Errorf("event: got %q, want no URL", urls)
			}
			for _, bad := range []string{`href="javascript:`, `href="JavaScript:`, `href="data:`, "<script>alert"} {
				if strings.Contains(card.Body, bad) {
					t.Errorf("card: got\n%s\nwant no %s in it", card.Body, bad)
				}
			}
		})
	}

	s.links(t, roomlinktest.Conversation(script), func(l *messages.Links) {
		l.AgentURL, l.RecordingURL = "https://video.example/?"+script, "https://video.example/?'"+script
	})
	s.fail(t, roomlinktest.Conversation("failed "+script), script)
	for _, id := range []string{script, "failed " + script} {
		for _, address := range []string{s.pagesOf(id).Card, s.pagesOf(id).Customer} {
			if got := s.do(t, http.MethodGet, address); got.Status != http.StatusOK || strings.Contains(got.Body, "<script>alert") {
				t.Errorf("got %d:\n%s\nwant a page without the script", got.Status, got.Body)
			}
		}
	}
}

// No GET shows a ticket: a robot that follows links must not get one.
func TestNoPageShowsTheTicket(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	for _, id := range []string{
		"ready", "endless", "pending", "failed", "unknown", "expired", "renewing", "renewing early", "renewal failed",
		"revoked", "revoked and renewing", "renewal after revocation failed",
	} {
		pages := s.pagesOf(id)
		for _, address := range []string{pages.Context, pages.Customer, pages.Card, pages.Card + "/qr.svg"} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				got := s.do(t, method, address)
				if text := headerText(got.Header) + got.Body; strings.Contains(text, "invented-ticket") {
					t.Errorf("%s of a page of %q: got %s, want no ticket", method, id, text)
				}
			}
		}
		for _, address := range []string{pages.Context, pages.Customer, pages.Card} {
			events := s.follow(t, address)
			state, _ := events.next(t)
			for name, value := range state {
				if strings.Contains(value, "invented-ticket") {
					t.Errorf("event of %q: got %s %q, want no ticket", id, name, value)
				}
			}
			_ = events.close()
		}
	}
}

func headerText(header http.Header) string {
	var text strings.Builder
	_ = header.Write(&text)
	return text.String()
}

func TestPagesWithoutBroker(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"))
	pages := s.pagesOf("a")
	s.broker.Close()
	for _, call := range []struct{ method, address string }{
		{http.MethodGet, pages.Context}, {http.MethodGet, pages.Customer}, {http.MethodPost, pages.Customer}, {http.MethodGet, pages.Card},
	} {
		got := s.do(t, call.method, call.address)
		got.wantPage(t, http.StatusServiceUnavailable, textOutage)
		if !strings.Contains(got.Body, markWaiting) {
			t.Errorf("got\n%s\nwant a page that reloads", got.Body)
		}
	}
}
