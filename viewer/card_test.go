package viewer_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// parts are the parts of the card that some statuses hide.
var parts = []string{"left", "join", "share", "recording", "reference"}

// scripted are the parts that do nothing without the script, which shows them.
var scripted = []string{"copy", "renew", "link", "address"}

// hasPart reports whether a card shows a part.
func hasPart(tb testing.TB, body, id string) bool {
	tb.Helper()
	_, rest, found := strings.Cut(body, ` id="`+id+`"`)
	tag, _, closed := strings.Cut(rest, ">")
	if !found || !closed {
		tb.Errorf("got\n%s\nwant a part %q in it", body, id)
	}
	return !strings.Contains(tag, " hidden")
}

func TestCard(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	for _, test := range []struct {
		id, heading string
		// shown are the visible parts.
		shown []string
	}{
		{"ready", "Video room ready", []string{"left", "join", "share", "recording"}},
		{"endless", "Video room ready", []string{"join", "share"}},
		{"pending", "Video room on its way", nil},
		{"renewing", "New room on its way", []string{"recording"}},
		{"renewing early", "Video room ready", []string{"left", "join", "share", "recording"}},
		{"unknown", "No video room yet", []string{"reference"}},
		{"failed", "The video room failed", []string{"reference"}},
		{"expired", "The link has expired", []string{"join", "recording"}},
		{"renewal failed", "The new room failed", []string{"left", "join", "share", "recording", "reference"}},
		{"revoked", "The links were revoked", nil},
		{"revoked and renewing", "New room on its way", nil},
		{"renewal after revocation failed", "The video room failed", []string{"reference"}},
	} {
		t.Run(test.id, func(t *testing.T) {
			pages := s.pagesOf(test.id)
			got := s.do(t, http.MethodGet, pages.Card)
			status := http.StatusOK
			if test.id == "revoked" {
				status = http.StatusGone
			}
			got.wantPage(t, status, `<h1 id="heading">`+test.heading+"</h1>")
			for _, part := range parts {
				if shown := hasPart(t, got.Body, part); shown != slices.Contains(test.shown, part) {
					t.Errorf("got\n%s\nwant %q shown: %v", got.Body, part, !shown)
				}
			}
			for _, part := range scripted {
				if hasPart(t, got.Body, part) {
					t.Errorf("got\n%s\nwant %q hidden until the script runs", got.Body, part)
				}
			}
			if policy := got.Header.Get("Content-Security-Policy"); !strings.HasSuffix(policy, "frame-ancestors "+ancestors) ||
				!strings.Contains(policy, "form-action 'none'") {
				t.Errorf("Content-Security-Policy: got %q, want the configured ancestors and no forms", policy)
			}
			if head := s.do(t, http.MethodHead, pages.Card); head.Status != status || head.Body != "" {
				t.Errorf("HEAD: got %d and %q, want %d and nothing", head.Status, head.Body, status)
			}
		})
	}
}

// A failed card shows the reason in words, and its code for support.
func TestCardShowsTheReason(t *testing.T) {
	s := newSite(t)
	for reason, want := range map[string]string{
		messages.ReasonRejected: "auvious refused", messages.ReasonBadAnswer: "without usable links",
		messages.ReasonUnknownOutcome: "did not answer in time", messages.ReasonExpired: "could not be reached",
		messages.ReasonBadEvent: "What Talkdesk sent", messages.ReasonUnreadable: "was damaged", "a_reason_to_come": "tell your administrator",
	} {
		s.fail(t, roomlinktest.Conversation("by "+reason), reason)
		got := s.do(t, http.MethodGet, s.pagesOf("by "+reason).Card)
		got.wantPage(t, http.StatusOK, want)
		for _, code := range []string{`<code id="reason">` + reason + "</code>", "<code>by " + reason + "</code>"} {
			if !strings.Contains(got.Body, code) {
				t.Errorf("%s: got\n%s\nwant %s in it", reason, got.Body, code)
			}
		}
	}
}

func TestCardQR(t *testing.T) {
	s := newSite(t)
	pages := s.pagesOf("a")
	got := s.do(t, http.MethodGet, pages.Card+"/qr.svg")
	if kind := got.Header.Get("Content-Type"); got.Status != http.StatusOK || kind != "image/svg+xml" || !strings.HasPrefix(got.Body, "<svg ") {
		t.Errorf("got %d of %q: %.60s, want 200 with a picture", got.Status, kind, got.Body)
	}
	got.wantSecure(t)
	// The card keeps a place for the code, so nothing moves under the pointer.
	size := regexp.MustCompile(`width="\d+" height="\d+"`).FindString(got.Body)
	if page := s.do(t, http.MethodGet, pages.Card); size == "" || !strings.Contains(page.Body, size+` loading="lazy"`) {
		t.Errorf("card: got\n%s\nwant it to keep a place of %s", page.Body, size)
	}
	if head := s.do(t, http.MethodHead, pages.Card+"/qr.svg"); head.Status != http.StatusOK || head.Body != "" {
		t.Errorf("HEAD: got %d and %q, want 200 and nothing", head.Status, head.Body)
	}
	asCard := strings.Replace(pages.Customer, "/open/", "/card/", 1)
	s.do(t, http.MethodGet, asCard+"/qr.svg").WantError(t, http.StatusNotFound, "bad_token")
	old := s.pages.For(roomlinktest.Conversation("a"), time.Now().Add(-2*time.Hour))
	s.do(t, http.MethodGet, old.Card+"/qr.svg").WantError(t, http.StatusGone, "bad_token")
	// The longest id fits into a code.
	long := s.pagesOf(strings.Repeat("x", 256)).Card
	if got := s.do(t, http.MethodGet, long+"/qr.svg"); got.Status != http.StatusOK {
		t.Errorf("of a long id: got %d %s, want 200", got.Status, got.Body)
	}
}

func TestCardEvents(t *testing.T) {
	s := newSite(t)
	s.start(t, roomlinktest.Conversation("a"), 0)
	events := s.follow(t, s.pagesOf("a").Card)
	first := events.wantNext(t, store.StatusPending)
	if first["agentUrl"]+first["recordingUrl"]+first["expiresAt"]+first["reason"] != "" {
		t.Errorf("pending: got %v, want nothing else yet", first)
	}
	if _, err := time.Parse(time.RFC3339, first["since"]); err != nil || first["since"] > first["now"] {
		t.Errorf("pending since %q at %q: got error %v, want the time of the event", first["since"], first["now"], err)
	}
	s.links(t, roomlinktest.Conversation("a"))
	got := events.wantNext(t, store.StatusReady)
	want := map[string]string{
		"status": "ready", "agentUrl": agentURL, "recordingUrl": recordingURL, "expiresAt": later.String(), "reason": "",
		"heading": "Video room ready", "text": got["text"], "generation": "1", "since": "",
		"customerUrl": got["customerUrl"], "version": got["version"], "now": got["now"],
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

	s.fail(t, roomlinktest.Conversation("a"), messages.ReasonExpired)
	failed := events.wantNext(t, store.StatusFailed)
	if failed["reason"] != messages.ReasonExpired || failed["agentUrl"] != agentURL {
		t.Errorf("failed renewal: got %v, want its reason beside the old links", failed)
	}
}

// The page and its first event have the same version. Otherwise the page would reload
// without need.
func TestCardAndEventsAgree(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	for _, id := range []string{"ready", "pending", "failed", "unknown", "expired", "renewal failed"} {
		card := s.pagesOf(id).Card
		state, ok := s.follow(t, card).next(t)
		if page := s.do(t, http.MethodGet, card); !ok || !strings.Contains(page.Body, `data-version="`+state["version"]+`"`) {
			t.Errorf("%s: got the page\n%s\nwant the version %q of its event", id, page.Body, state["version"])
		}
	}
}

func TestCardEventsOfTheUnknown(t *testing.T) {
	s := newSite(t)
	events := s.follow(t, s.pagesOf("a").Card)
	events.wantNext(t, store.StatusUnknown)
	s.fail(t, roomlinktest.Conversation("a"), messages.ReasonRejected)
	events.wantNext(t, store.StatusFailed)
}

func TestCardsOfTwoAccounts(t *testing.T) {
	s := newSite(t)
	theirs := messages.Conversation{Account: other, InteractionID: "a"}
	s.start(t, roomlinktest.Conversation("a"), 0)
	s.start(t, theirs, 0)
	ourEvents := s.follow(t, s.pagesOf("a").Card)
	theirEvents := s.follow(t, s.pages.For(theirs, time.Now()).Card)
	ourEvents.wantNext(t, store.StatusPending)
	theirEvents.wantNext(t, store.StatusPending)

	s.links(t, theirs, func(l *messages.Links) { l.AgentURL = "https://video.example/theirs" })
	if got := theirEvents.wantNext(t, store.StatusReady); got["agentUrl"] != "https://video.example/theirs" {
		t.Errorf("their card: got %v, want their links", got)
	}
	s.links(t, roomlinktest.Conversation("a"))
	if got := ourEvents.wantNext(t, store.StatusReady); got["agentUrl"] != agentURL {
		t.Errorf("our card: got %v, want our links", got)
	}
}

func TestCardEventsEndWhenTheServerStops(t *testing.T) {
	s := newSite(t)
	events := s.follow(t, s.pagesOf("a").Card)
	events.wantNext(t, store.StatusUnknown)
	s.stop()
	if state, ok := events.next(t); ok || events.lines.Err() != nil {
		t.Errorf("after the stop: got %v and error %v, want the end", state, events.lines.Err())
	}
	roomlinktest.Receive(t, s.done, "the end")
}

// A card that reconnects to another server gets the current state.
func TestCardEventsAfterARestart(t *testing.T) {
	s := newSite(t)
	s.start(t, roomlinktest.Conversation("a"), 0)
	card := s.pagesOf("a").Card
	s.follow(t, card).wantNext(t, store.StatusPending)
	s.halt(t)
	s.links(t, roomlinktest.Conversation("a"))
	s.restart(t)
	s.follow(t, card).wantNext(t, store.StatusReady)
}

// The stream ends when the address of the card expires.
func TestCardEventsEndWhenTheAddressExpires(t *testing.T) {
	s := newSite(t)
	pages := s.pages
	for seconds := 2; ; seconds *= 2 { // a slow machine may be too late
		pages.Lifetime = time.Duration(seconds) * time.Second
		answer := open(t, http.MethodGet, pages.For(roomlinktest.Conversation("a"), time.Now()).Card+"/events")
		events := newStream(answer)
		if _, ok := events.next(t); !ok {
			_ = events.close()
			continue
		}
		if state, ok := events.next(t); ok || events.lines.Err() != nil {
			t.Errorf("after the address ended: got %v and error %v, want the end", state, events.lines.Err())
		}
		_ = events.close()
		return
	}
}

func TestCardEventsWithBadTokens(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"))
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
		"expired":    {tokenOf(s.pages.For(roomlinktest.Conversation("a"), time.Now().Add(-2*time.Hour)).Card), 410},
	} {
		got := s.do(t, http.MethodGet, "/card/"+test.token+"/events")
		got.WantError(t, test.status, "bad_token")
		if strings.Contains(got.Body, test.token) && len(test.token) > 1 {
			t.Errorf("%s: got %s, want no token in it", name, got.Body)
		}
	}
}

func TestAssets(t *testing.T) {
	s := newSite(t)
	for name, test := range map[string]struct{ kind, text string }{
		"card.js":      {"text/javascript; charset=utf-8", "import"},
		"open.js":      {"text/javascript; charset=utf-8", "import"},
		"live.js":      {"text/javascript; charset=utf-8", "EventSource"},
		"icon.svg":     {"image/svg+xml", "<svg"},
		"roomlink.css": {"text/css; charset=utf-8", "{"},
	} {
		got := s.do(t, http.MethodGet, "/assets/"+name)
		if kind := got.Header.Get("Content-Type"); got.Status != http.StatusOK || kind != test.kind || !strings.Contains(got.Body, test.text) {
			t.Errorf("%s: got %d of %q, want 200 of %q", name, got.Status, kind, test.kind)
		}
		if got := got.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options: got %q, want nosniff", name, got)
		}
		again := s.do(t, http.MethodGet, "/assets/"+name, with("If-None-Match", got.Header.Get("ETag")))
		if control := got.Header.Get("Cache-Control"); control != "no-cache" || again.Status != http.StatusNotModified {
			t.Errorf("%s: got Cache-Control %q, and then %d; want no-cache, and 304 for what is known", name, control, again.Status)
		}
		if head := s.do(t, http.MethodHead, "/assets/"+name); head.Status != http.StatusOK || head.Body != "" {
			t.Errorf("%s: HEAD: got %d and %q, want 200 and nothing", name, head.Status, head.Body)
		}
	}
	for _, path := range []string{
		"/assets/", "/assets/.", "/assets/..", "/assets/nothing.js", "/assets/..%2Fviewer.go", "/assets/x/../card.js", "/assets/%00", "/viewer.go",
	} {
		s.do(t, http.MethodGet, path).WantError(t, http.StatusNotFound, "not_found")
	}
}
