package viewer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
)

// What is no id is refused in the address too, even if links are stored with it. White space
// around an id does not count.
func TestLinksOfNoID(t *testing.T) {
	s := newSite(t)
	for _, id := range []string{
		"null", "undefined", "N/A", "[object Object]", "%{interaction_id}", "{interactionId}", "${interaction_id}", "<interaction_id>",
		"{{interaction", "%interaction_id%", ":interactionId", "%7BinteractionId%7D", "<no value>",
	} {
		s.links(t, roomlinktest.Conversation(id))
		for _, call := range [][2]string{{http.MethodGet, ""}, {http.MethodPost, "/renew"}} {
			got := s.do(t, call[0], "/links/"+url.PathEscape(id)+call[1], withKey(apiKey))
			got.WantError(t, http.StatusBadRequest, "bad_interaction_id")
			if !strings.Contains(got.Body, "replace it by the variable") {
				t.Errorf("%s %q: got %s, want a sentence that says what to do", call[0], id, got.Body)
			}
		}
	}
	s.links(t, roomlinktest.Conversation("call-1"))
	for _, path := range []string{"/links/%20call-1", "/links/call-1%0A", "/links/%E2%80%83call-1%C2%A0"} {
		if got := s.ask(t, path).wantStatus(t, store.StatusReady); got["interactionId"] != "call-1" {
			t.Errorf("%s: got interactionId %q, want call-1", path, got["interactionId"])
		}
	}
}

// Pages are signed: they show what is stored, whatever the id.
func TestPagesOfNoID(t *testing.T) {
	s := newSite(t)
	for _, id := range []string{"null", "%{interaction_id}", "abc ", "\u2003abc", "<interaction_id>"} {
		conversation := roomlinktest.Conversation(id)
		s.links(t, conversation)
		pages := s.pages.For(conversation, roomlinktest.Noon.AddDate(1000, 0, 0))
		if got := s.do(t, http.MethodGet, pages.Context); got.Status != http.StatusFound {
			t.Errorf("context link of %q: got %d, want 302", id, got.Status)
		}
		if got := s.do(t, http.MethodPost, pages.Customer); got.Status != http.StatusSeeOther {
			t.Errorf("customer's click of %q: got %d, want 303", id, got.Status)
		}
		if got := s.do(t, http.MethodGet, pages.Card); got.Status != http.StatusOK {
			t.Errorf("card of %q: got %d, want 200", id, got.Status)
		}
		if got := s.do(t, http.MethodPost, pages.Card+"/renew"); got.Status != http.StatusAccepted {
			t.Errorf("renewal of %q by its card: got %d %s, want 202", id, got.Status, got.Body)
		}
	}
}
