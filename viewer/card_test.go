package viewer_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/messages"
)

func TestCard(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	const button, recording, customer = "Join video", "Recording", "Customer link"
	for _, test := range []struct {
		id, text string
		// shown are the parts that the card has; the others are not there.
		shown []string
	}{
		{"ready", "The video room is ready.", []string{button, recording, customer, "Ticket valid until"}},
		{"endless", "The video room is ready.", []string{button, customer}},
		{"pending", "The video room is on its way.", nil},
		{"unknown", "There is no video room for this conversation yet.", nil},
		{"failed", "The video room could not be made: rejected", nil},
		{"expired", "The customer&#39;s ticket has ended.", []string{button, recording, "Ticket valid until"}},
		{"renewal failed", "The video room could not be made: expired", []string{button, recording, "Ticket valid until"}},
	} {
		t.Run(test.id, func(t *testing.T) {
			pages := s.pagesOf(test.id)
			got := s.do(t, http.MethodGet, pages.Card)
			got.wantPage(t, http.StatusOK, `<p role="status">`+test.text+"</p>")
			for _, part := range []string{button, recording, customer, "Ticket valid until"} {
				if shown := strings.Contains(got.body, part); shown != slices.Contains(test.shown, part) {
					t.Errorf("got\n%s\nwant %q in it: %v", got.body, part, !shown)
				}
			}
			events := strings.TrimPrefix(pages.Card, s.url) + "/events"
			if !strings.Contains(got.body, `data-events="`+events+`"`) {
				t.Errorf("got\n%s\nwant the address of its events", got.body)
			}
			if policy := got.header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, "frame-ancestors "+ancestors) {
				t.Errorf("Content-Security-Policy: got %q, want the configured ancestors", policy)
			}
			if head := s.do(t, http.MethodHead, pages.Card); head.status != http.StatusOK || head.body != "" {
				t.Errorf("HEAD: got %d and %q, want 200 and nothing", head.status, head.body)
			}
		})
	}
}

func TestCardEvents(t *testing.T) {
	s := newSite(t)
	s.start(t, conversation("a"), 0)
	events := s.follow(t, s.pagesOf("a").Card)
	first := events.wantNext(t, messages.StatusPending)
	if first["agentUrl"]+first["recordingUrl"]+first["expiresAt"]+first["reason"] != "" {
		t.Errorf("pending: got %v, want nothing else yet", first)
	}
	s.links(t, conversation("a"))
	got := events.wantNext(t, messages.StatusReady)
	want := map[string]string{
		"status": "ready", "agentUrl": agentURL, "recordingUrl": recordingURL, "expiresAt": later.String(), "reason": "",
		"customerUrl": got["customerUrl"], "version": got["version"],
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: got %q, want %q", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want the fields of %v", got, want)
	}
	if got["version"] == "" || got["version"] == first["version"] {
		t.Errorf("version: got %q after %q, want another", got["version"], first["version"])
	}
	s.do(t, http.MethodPost, got["customerUrl"]).wantRedirect(t, http.StatusSeeOther, ticketURL)

	s.fail(t, conversation("a"), messages.ReasonExpired)
	failed := events.wantNext(t, messages.StatusFailed)
	if failed["reason"] != messages.ReasonExpired || failed["agentUrl"] != agentURL {
		t.Errorf("failed renewal: got %v, want its reason beside the old links", failed)
	}
}

// The page's version is that of its first event, so that it is not loaded anew
// for nothing.
func TestCardAndEventsAgree(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	for _, id := range []string{"ready", "pending", "failed", "unknown", "expired", "renewal failed"} {
		card := s.pagesOf(id).Card
		state, ok := s.follow(t, card).next(t)
		if page := s.do(t, http.MethodGet, card); !ok || !strings.Contains(page.body, `data-version="`+state["version"]+`"`) {
			t.Errorf("%s: got the page\n%s\nwant the version %q of its event", id, page.body, state["version"])
		}
	}
}

func TestCardEventsOfTheUnknown(t *testing.T) {
	s := newSite(t)
	events := s.follow(t, s.pagesOf("a").Card)
	events.wantNext(t, messages.StatusUnknown)
	s.fail(t, conversation("a"), messages.ReasonRejected)
	events.wantNext(t, messages.StatusFailed)
}

func TestCardsOfTwoAccounts(t *testing.T) {
	s := newSite(t)
	theirs := messages.Conversation{Account: other, InteractionID: "a"}
	s.start(t, conversation("a"), 0)
	s.start(t, theirs, 0)
	ourEvents := s.follow(t, s.pagesOf("a").Card)
	theirEvents := s.follow(t, s.pages.For(theirs, time.Now()).Card)
	ourEvents.wantNext(t, messages.StatusPending)
	theirEvents.wantNext(t, messages.StatusPending)

	s.links(t, theirs, func(l *messages.Links) { l.AgentURL = "https://video.example/theirs" })
	if got := theirEvents.wantNext(t, messages.StatusReady); got["agentUrl"] != "https://video.example/theirs" {
		t.Errorf("their card: got %v, want their links", got)
	}
	s.links(t, conversation("a"))
	if got := ourEvents.wantNext(t, messages.StatusReady); got["agentUrl"] != agentURL {
		t.Errorf("our card: got %v, want our links", got)
	}
}

func TestCardEventsEndWhenTheServerStops(t *testing.T) {
	s := newSite(t)
	events := s.follow(t, s.pagesOf("a").Card)
	events.wantNext(t, messages.StatusUnknown)
	s.stop()
	if state, ok := events.next(t); ok || events.lines.Err() != nil {
		t.Errorf("after the stop: got %v and error %v, want the end", state, events.lines.Err())
	}
	receive(t, s.done, "the end")
}

// An address that ends while its card is shown tells nothing more.
func TestCardEventsEndWithTheirAddress(t *testing.T) {
	s := newSite(t)
	pages := s.pages
	pages.Lifetime = 2 * time.Second // whole seconds count, so it has more than one
	events := s.follow(t, pages.For(conversation("a"), time.Now()).Card)
	events.wantNext(t, messages.StatusUnknown)
	if state, ok := events.next(t); ok || events.lines.Err() != nil {
		t.Errorf("after the address ended: got %v and error %v, want the end", state, events.lines.Err())
	}
}

func TestCardEventsWithBadTokens(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	pages := s.pagesOf("a")
	tokenOf := func(address string) string { return address[strings.LastIndexByte(address, '/')+1:] }
	bearer := s.pages.Keys.Sign(access.Claims{Purpose: access.PurposeAccess, Account: account, Subject: "a", Expires: time.Now().Add(time.Hour)})
	for name, test := range map[string]struct {
		token  string
		status int
	}{
		"cut":        {tokenOf(pages.Card)[1:], 404},
		"agent's":    {tokenOf(pages.Context), 404},
		"customer's": {tokenOf(pages.Customer), 404},
		"access":     {bearer, 404},
		"none":       {"x", 404},
		"expired":    {tokenOf(s.pages.For(conversation("a"), time.Now().Add(-2*time.Hour)).Card), 410},
	} {
		got := s.do(t, http.MethodGet, "/card/"+test.token+"/events")
		got.wantError(t, test.status, "bad_token")
		if strings.Contains(got.body, test.token) && len(test.token) > 1 {
			t.Errorf("%s: got %s, want no token in it", name, got.body)
		}
	}
}

func TestAssets(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]struct{ kind, text string }{
		"card.js":      {"text/javascript; charset=utf-8", "EventSource"},
		"roomlink.css": {"text/css; charset=utf-8", "{"},
	} {
		got := s.do(t, http.MethodGet, "/assets/"+name)
		if kind := got.header.Get("Content-Type"); got.status != http.StatusOK || kind != test.kind || !strings.Contains(got.body, test.text) {
			t.Errorf("%s: got %d of %q, want 200 of %q", name, got.status, kind, test.kind)
		}
		if got := got.header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options: got %q, want nosniff", name, got)
		}
		if head := s.do(t, http.MethodHead, "/assets/"+name); head.status != http.StatusOK || head.body != "" {
			t.Errorf("%s: HEAD: got %d and %q, want 200 and nothing", name, head.status, head.body)
		}
	}
	for _, path := range []string{
		"/assets/", "/assets/.", "/assets/..", "/assets/nothing.js", "/assets/..%2Fviewer.go", "/assets/x/../card.js", "/assets/%00", "/viewer.go",
	} {
		s.do(t, http.MethodGet, path).wantError(t, http.StatusNotFound, "not_found")
	}
}
