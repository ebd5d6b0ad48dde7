package viewer_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// ask gets a path with the API key of [account].
func (s *site) ask(tb testing.TB, path string) reply {
	tb.Helper()
	return s.do(tb, http.MethodGet, path, withKey(apiKey))
}

// wantStatus returns the links in an answer, and checks their status.
func (r reply) wantStatus(tb testing.TB, want store.Status) map[string]string {
	tb.Helper()
	got := r.Flat(tb)
	if r.Status != http.StatusOK || got["status"] != string(want) {
		tb.Fatalf("got %d %s, want 200 with status %q", r.Status, r.Body, want)
	}
	return got
}

func TestLinks(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	long, past := later.String(), messages.At(roomlinktest.Noon.AddDate(-20, 0, 0)).String()
	for _, test := range []struct {
		id string
		// want are the fields besides the id and the pages.
		status, agent, recording, ticket, expires, reason string
	}{
		{"ready", "ready", agentURL, recordingURL, ticketURL, long, ""},
		{"endless", "ready", agentURL, "", ticketURL, "", ""},
		{"pending", "pending", "", "", "", "", ""},
		{"failed", "failed", "", "", "", "", "rejected"},
		{"unknown", "unknown", "", "", "", "", ""},
		{"expired", "expired", agentURL, recordingURL, "", past, ""},
		{"renewing", "pending", agentURL, recordingURL, "", past, ""},
		{"renewing early", "ready", agentURL, recordingURL, ticketURL, long, ""},
		{"renewal failed", "failed", agentURL, recordingURL, ticketURL, long, "expired"},
		{"revoked", "revoked", "", "", "", long, ""},
		{"revoked and renewing", "pending", "", "", "", long, ""},
		{"renewal after revocation failed", "failed", "", "", "", long, "expired"},
	} {
		t.Run(test.id, func(t *testing.T) {
			got := s.ask(t, "/links/"+strings.ReplaceAll(test.id, " ", "%20")).wantStatus(t, store.Status(test.status))
			s.wantPages(t, got, roomlinktest.Conversation(test.id))
			want := map[string]string{
				"status": test.status, "interactionId": test.id, "agentUrl": test.agent, "recordingUrl": test.recording,
				"ticketUrl": test.ticket, "expiresAt": test.expires, "reason": test.reason,
				"contextUrl": got["contextUrl"], "customerUrl": got["customerUrl"], "cardUrl": got["cardUrl"],
			}
			if !maps.Equal(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// wantPages checks that the addresses open the pages of a conversation.
func (s *site) wantPages(t *testing.T, answer map[string]string, named messages.Conversation) {
	t.Helper()
	for _, test := range []struct {
		field, prefix string
		purpose       access.Purpose
	}{
		{"contextUrl", "/open/", access.PurposeAgent},
		{"customerUrl", "/open/", access.PurposeCustomer},
		{"cardUrl", "/card/", access.PurposeCard},
	} {
		token, ok := strings.CutPrefix(answer[test.field], s.url+test.prefix)
		claims, err := s.pages.Keys.Verify(token, test.purpose, time.Now())
		if !ok || err != nil || claims.Account != named.Account || claims.Subject != named.InteractionID {
			t.Errorf("%s %q: got %+v and error %v, want one of %+v", test.field, answer[test.field], claims, err, named)
		}
	}
}

func TestLinksOfOddIDs(t *testing.T) {
	s := newSite(t)
	for path, id := range map[string]string{
		"a%2Fb": "a/b", "a%2fc": "a/c", "a.b.c": "a.b.c", "..": "..", "%2E%2E%2Fx": "../x", "a%20b": "a b", "a+b": "a+b",
		"%C3%A9": "é", "%F0%9F%91%A9%E2%80%8D%F0%9F%9A%80": "👩‍🚀", "%2A": "*", "*.>": "*.>", "%3Cscript%3Ealert(1)": "<script>alert(1)",
		"a%252Fb": "a%2Fb", "a;b=c": "a;b=c", "%3Fwait=4s": "?wait=4s", strings.Repeat("x", 256): strings.Repeat("x", 256),
	} {
		s.links(t, roomlinktest.Conversation(id))
		got := s.ask(t, "/links/"+path).wantStatus(t, store.StatusReady)
		if got["interactionId"] != id {
			t.Errorf("%s: got interactionId %q, want %q", path, got["interactionId"], id)
		}
	}
}

func TestLinksRefuses(t *testing.T) {
	s := newSite(t)
	for _, test := range []struct {
		method, path string
		edits        []edit
		status       int
		code         string
	}{
		{"GET", "/links/a", nil, 401, "unauthorized"},
		{"GET", "/links/a", []edit{withKey("guess")}, 401, "unauthorized"},
		{"GET", "/links/%00", nil, 401, "unauthorized"},
		{"GET", "/links/a", []edit{with("Authorization", "Bearer guess")}, 401, "unauthorized"},
		{"GET", "/links/a?api_key=" + apiKey, nil, 401, "unauthorized"},
		{"POST", "/links/a", []edit{withKey(apiKey)}, 405, "method_not_allowed"},
		{"GET", "/links", []edit{withKey(apiKey)}, 404, "not_found"},
		{"GET", "/links/a/b", []edit{withKey(apiKey)}, 404, "not_found"},
		{"GET", "/links/", []edit{withKey(apiKey)}, 404, "not_found"},
		{"GET", "//links//a/b", []edit{withKey(apiKey)}, 404, "not_found"},
		{"GET", "/links/%00", []edit{withKey(apiKey)}, 400, "bad_interaction_id"},
		{"GET", "/links/%FF", []edit{withKey(apiKey)}, 400, "bad_interaction_id"},
		{"GET", "/links/%20", []edit{withKey(apiKey)}, 400, "bad_interaction_id"},
		{"GET", "/links/%7B%7Binteraction_id%7D%7D", []edit{withKey(apiKey)}, 400, "bad_interaction_id"},
		{"GET", "/links/" + strings.Repeat("x", 257), []edit{withKey(apiKey)}, 400, "bad_interaction_id"},
		{"GET", "/links/a?wait=-1", []edit{withKey(apiKey)}, 400, "bad_wait"},
		{"GET", "/links/a?wait=4+s", []edit{withKey(apiKey)}, 400, "bad_wait"},
		{"GET", "/links/a?wait=1e3", []edit{withKey(apiKey)}, 400, "bad_wait"},
		{"GET", "/links/a?wait=9999999999", []edit{withKey(apiKey)}, 400, "bad_wait"},
		{"GET", "/links/a?wait=-1s", []edit{withKey(apiKey)}, 400, "bad_wait"},
		{"GET", "/links/a?wait=soon", []edit{withKey(apiKey)}, 400, "bad_wait"},
		{"GET", "/links/a?wait=1e9s", []edit{withKey(apiKey)}, 400, "bad_wait"},
		{"GET", "/links/a?wait=9999999999h", []edit{withKey(apiKey)}, 400, "bad_wait"},
	} {
		t.Run(test.method+" "+test.path[:min(len(test.path), 40)], func(t *testing.T) {
			got := s.do(t, test.method, test.path, test.edits...)
			got.WantError(t, test.status, test.code)
			if challenge := got.Header.Get("WWW-Authenticate"); (challenge != "") != (test.status == 401) {
				t.Errorf("WWW-Authenticate: got %q with %d, want one with 401 alone", challenge, test.status)
			}
		})
	}
}

func TestLinksOfTwoAccounts(t *testing.T) {
	s := newSite(t)
	theirs := messages.Conversation{Account: other, InteractionID: "a"}
	s.links(t, theirs)
	s.start(t, messages.Conversation{Account: other, InteractionID: "b"}, 0)
	for _, id := range []string{"a", "b"} {
		got := s.ask(t, "/links/"+id).wantStatus(t, store.StatusUnknown)
		s.wantPages(t, got, roomlinktest.Conversation(id))
	}
	got := s.do(t, http.MethodGet, "/links/a", withKey(otherKey)).wantStatus(t, store.StatusReady)
	s.wantPages(t, got, theirs)
}

func TestWaitForWhatIsThere(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	for id, want := range map[string]store.Status{
		"ready": store.StatusReady, "failed": store.StatusFailed, "expired": store.StatusExpired,
		"renewing%20early": store.StatusReady, "renewal%20failed": store.StatusFailed, "revoked": store.StatusRevoked,
	} {
		named, _ := url.PathUnescape(id)
		reads := s.reads(t, roomlinktest.Conversation(named))
		s.ask(t, "/links/"+id+"?wait=20s").wantStatus(t, want)
		if got := len(reads); got > 1 { // awaitFollower says why
			t.Errorf("%s: got %d reads, want the answer at once", id, got)
		}
	}
}

func TestWaitIsOver(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	for id, want := range map[string]store.Status{
		"pending": store.StatusPending, "unknown": store.StatusUnknown, "renewing": store.StatusPending,
	} {
		for _, wait := range []string{"", "0", "0s", "1ns", "20ms", "0.02", ".01"} {
			got := s.ask(t, "/links/"+id+"?wait="+wait).wantStatus(t, want)
			if got["interactionId"] != id || got["ticketUrl"] != "" {
				t.Errorf("%s after %q: got %v, want it without a ticket", id, wait, got)
			}
		}
	}
}

// waiting asks for links in the background, and returns once the viewer waits.
func (s *site) waiting(t *testing.T, id string) <-chan reply {
	t.Helper()
	reads, replies := s.reads(t, roomlinktest.Conversation(id)), make(chan reply, 1)
	go func() { replies <- s.ask(t, "//links/"+id+"/?wait=20") }()
	awaitFollower(t, reads)
	return replies
}

func TestWaitUntilReady(t *testing.T) {
	s := newSite(t)
	s.start(t, roomlinktest.Conversation("a"), 0)
	replies := s.waiting(t, "a")
	// Neither another conversation nor another account's ends the wait.
	s.links(t, roomlinktest.Conversation("b"))
	s.links(t, messages.Conversation{Account: other, InteractionID: "a"})
	s.links(t, roomlinktest.Conversation("a"))
	got := roomlinktest.Receive(t, replies, "the answer").wantStatus(t, store.StatusReady)
	if got["agentUrl"] != agentURL || got["ticketUrl"] != ticketURL {
		t.Errorf("got %v, want the links", got)
	}
}

// The canvas may ask before Talkdesk's event has come.
func TestWaitForTheUnknown(t *testing.T) {
	s := newSite(t)
	replies := s.waiting(t, "a")
	s.start(t, roomlinktest.Conversation("a"), 0)
	s.links(t, roomlinktest.Conversation("a"))
	roomlinktest.Receive(t, replies, "the answer").wantStatus(t, store.StatusReady)
}

func TestWaitUntilFailed(t *testing.T) {
	s := newSite(t)
	s.start(t, roomlinktest.Conversation("a"), 0)
	replies := s.waiting(t, "a")
	s.fail(t, roomlinktest.Conversation("a"), messages.ReasonBadAnswer)
	got := roomlinktest.Receive(t, replies, "the answer").wantStatus(t, store.StatusFailed)
	if got["reason"] != messages.ReasonBadAnswer {
		t.Errorf("reason: got %q, want %q", got["reason"], messages.ReasonBadAnswer)
	}
}

func TestWaitEndsWhenTheServerStops(t *testing.T) {
	s := newSite(t)
	s.start(t, roomlinktest.Conversation("a"), 0)
	replies := s.waiting(t, "a")
	s.stop()
	roomlinktest.Receive(t, replies, "the answer").wantStatus(t, store.StatusPending)
	roomlinktest.Receive(t, s.done, "the end")
}

func TestManyWait(t *testing.T) {
	s := newSite(t)
	const callers = 20
	replies := make(chan reply, callers)
	for i := range callers {
		go func() { replies <- s.ask(t, fmt.Sprintf("/links/a?wait=%ds", 15+i%5)) }()
	}
	s.start(t, roomlinktest.Conversation("a"), 0)
	s.links(t, roomlinktest.Conversation("a"))
	for range callers {
		roomlinktest.Receive(t, replies, "an answer").wantStatus(t, store.StatusReady)
	}
}

func TestLinksWithoutBroker(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"))
	s.broker.Close()
	for _, path := range []string{"/links/a", "/links/a?wait=1s"} {
		got := s.ask(t, path)
		got.WantError(t, http.StatusServiceUnavailable, "state_unavailable")
		if after := got.Header.Get("Retry-After"); after != "2" {
			t.Errorf("%s: Retry-After: got %q, want 2", path, after)
		}
	}
}
