package viewer_test

import (
	"net/http"
	"sync"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

func TestRenewLinks(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"), func(l *messages.Links) { l.OrganizationID = "org-1" })
	got := s.do(t, http.MethodPost, "/links/a/renew", withKey(apiKey))
	if flat := got.Flat(t); got.Status != http.StatusAccepted || flat["status"] != "accepted" || flat["contextUrl"] == "" {
		t.Errorf("renewing: got %d %s, want 202 accepted with the addresses", got.Status, got.Body)
	}
	event, err := s.store.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil {
		t.Fatalf("reading the event: %v", err)
	}
	if event.Data.Renews != 1 || event.Data.OrganizationID != "org-1" || event.Data.CustomerID != "contact-1" ||
		event.Data.Source != messages.SourceAPI {
		t.Errorf("event: got %+v, want a renewal of generation 1 with the options of the links", event.Data)
	}
	again := s.do(t, http.MethodPost, "/links/a/renew", withKey(apiKey))
	if flat := again.Flat(t); again.Status != http.StatusOK || flat["status"] != "duplicate" {
		t.Errorf("renewing twice: got %d %s, want 200 duplicate", again.Status, again.Body)
	}
}

func TestRenewLinksAtOnce(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"))
	statuses := make(chan string, 20)
	var group sync.WaitGroup
	for range cap(statuses) {
		group.Go(func() { statuses <- s.do(t, http.MethodPost, "/links/a/renew", withKey(apiKey)).Flat(t)["status"] })
	}
	group.Wait()
	close(statuses)
	counts := map[string]int{}
	for status := range statuses {
		counts[status]++
	}
	if counts["accepted"] != 1 || counts["duplicate"] != 19 {
		t.Errorf("answers: got %v, want 1 accepted and 19 duplicate", counts)
	}
}

func TestRenewLinksRefuses(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"))
	s.do(t, http.MethodPost, "/links/a/renew").WantError(t, http.StatusUnauthorized, "unauthorized")
	s.do(t, http.MethodPost, "/links/nobody/renew", withKey(apiKey)).WantError(t, http.StatusNotFound, "not_found")
	s.do(t, http.MethodPost, "/links/a/renew", withKey(otherKey)).WantError(t, http.StatusNotFound, "not_found")
	s.do(t, http.MethodPost, "/links/%00/renew", withKey(apiKey)).WantError(t, http.StatusBadRequest, "bad_interaction_id")
	s.do(t, http.MethodGet, "/links/a/renew", withKey(apiKey)).WantError(t, http.StatusMethodNotAllowed, "method_not_allowed")
	if _, err := s.store.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("a")); err == nil {
		t.Error("a refused renewal is in the queue")
	}
	s.broker.Close()
	answer := s.do(t, http.MethodPost, "/links/a/renew", withKey(apiKey))
	answer.WantError(t, http.StatusServiceUnavailable, "queue_unavailable")
	if answer.Header.Get("Retry-After") == "" {
		t.Error("got no Retry-After")
	}
}

func TestRenewCard(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"))
	pages := s.pages.For(roomlinktest.Conversation("a"), roomlinktest.Noon.AddDate(1000, 0, 0))
	s.do(t, http.MethodPost, pages.Context+"/renew").wantPage(t, http.StatusNotFound, textInvalid)
	s.do(t, http.MethodPost, "/card/made-up/renew").WantError(t, http.StatusNotFound, "bad_token")
	got := s.do(t, http.MethodPost, pages.Card+"/renew")
	if flat := got.Flat(t); got.Status != http.StatusAccepted || flat["status"] != "accepted" {
		t.Errorf("renewing: got %d %s, want 202 accepted", got.Status, got.Body)
	}
	event, err := s.store.Waiting(roomlinktest.Context(t), roomlinktest.Conversation("a"))
	if err != nil || event.Data.Source != messages.SourceCard {
		t.Errorf("event: got source %q and error %v, want %q", event.Data.Source, err, messages.SourceCard)
	}
}
