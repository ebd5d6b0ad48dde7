package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

const facadePath = "/security/facades/room"

// action returns a request of auvious' action.
func action(id string) string {
	return encode(map[string]string{
		"applicationId": "app-1", "cdestination": "standalone", "customerId": "customer-1", "interactionId": id,
	})
}

// worker does the work of a worker for the events of [account] until the test ends:
// answer returns the links or the dead letter for an event.
func (s *site) worker(tb testing.TB, answer func(messages.Started) (messages.Links, *messages.DeadLetter)) {
	tb.Helper()
	consumer, err := store.ProvisionConsumer(roomlinktest.Context(tb), s.store.JetStream(), account)
	if err != nil {
		tb.Fatalf("providing the consumer: %v", err)
	}
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		event, err := messages.Decode[messages.Started](msg.Data())
		if err != nil {
			tb.Errorf("decoding an event: %v", err)
			return
		}
		// The test may end while this still stores or acknowledges.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 30*time.Second)
		defer cancel()
		links, letter := answer(event.Data)
		if letter != nil {
			err = s.store.PublishDeadLetter(ctx, messages.NewEvent(messages.At(time.Now()), *letter), messages.Token(event.Data.InteractionID))
		} else {
			err = s.storeLinks(ctx, links)
		}
		if err := errors.Join(err, msg.Ack()); err != nil {
			tb.Errorf("settling an event: %v", err)
		}
	}, jetstream.PullMaxMessages(1))
	if err != nil {
		tb.Fatalf("consuming: %v", err)
	}
	tb.Cleanup(func() {
		consuming.Stop()
		<-consuming.Closed()
	})
}

func (s *site) storeLinks(ctx context.Context, links messages.Links) error {
	var after uint64
	stored, err := s.store.Links(ctx, links.Conversation, store.Leader)
	if err == nil {
		after = stored.Sequence
	} else if !errors.Is(err, messages.ErrNotFound) {
		return err
	}
	_, err = s.store.PublishLinks(ctx, messages.NewEvent(messages.At(time.Now()), links), after)
	return err
}

// roomOf returns the links for an event.
func roomOf(started messages.Started) messages.Links {
	name := fmt.Sprintf("%s-%d", started.InteractionID, started.Generation())
	return messages.Links{
		Request:  started.Request,
		AgentURL: "https://video.example/agent/" + name, TicketURL: messages.Secret("https://video.example/t/" + name),
		CreatedAt: messages.At(time.Now()), ExpiresAt: messages.At(time.Now().Add(time.Hour)),
		Generation: started.Generation(),
	}
}

func makesRooms(started messages.Started) (messages.Links, *messages.DeadLetter) {
	return roomOf(started), nil
}

func deadLetterOf(started messages.Started) *messages.DeadLetter {
	return &messages.DeadLetter{
		Conversation: started.Conversation, Reason: messages.ReasonRejected,
		AcceptedAt: messages.At(time.Now()), LastAttemptAt: messages.At(time.Now()), Event: []byte(`{}`),
	}
}

// wantRoom checks for the links of a generation, in exactly the form of auvious' action.
func (r reply) wantRoom(tb testing.TB, id string, generation int) {
	tb.Helper()
	got := r.Flat(tb)
	name := fmt.Sprintf("%s-%d", id, generation)
	if r.Status != http.StatusOK || len(got) != 3 || got["recordingUrl"] != "" ||
		got["agentUrl"] != "https://video.example/agent/"+name || got["ticketUrl"] != "https://video.example/t/"+name {
		tb.Errorf("got %d %s, want 200 with exactly the links of %q", r.Status, r.Body, name)
	}
}

func TestActionWaitsForItsLinks(t *testing.T) {
	s := newSite(t, setup{})
	s.worker(t, makesRooms)
	s.post(t, facadePath, action("a")).wantRoom(t, "a", 1)
	s.post(t, facadePath, action("a")).wantRoom(t, "a", 1)
	if got := s.events(t, account, "known"); got != 1 {
		t.Errorf("answers without a call: got %v, want 1", got)
	}
}

// Waiting actions need no consumer: subscribers may have used up what the stream takes.
func TestActionsWaitTogether(t *testing.T) {
	const callers = 100
	s := newSite(t, setup{})
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			s.post(t, facadePath, action(fmt.Sprintf("crowd-%d", i%10))).wantRoom(t, fmt.Sprintf("crowd-%d", i%10), 1)
		})
	}
	s.worker(t, makesRooms)
	group.Wait()
	if got := roomlinktest.Stream(t, s.store, messages.LinksStream).CachedInfo().State.Consumers; got > 0 {
		t.Errorf("consumers of the links: got %d, want none", got)
	}
}

func TestActionKeepsTheFieldsOfItsCaller(t *testing.T) {
	s := newSite(t, setup{actionTimeout: time.Millisecond})
	body := `{"applicationId":"app-1","cdestination":"standalone","customerId":"customer-1","interactionId":"a",` +
		`"organizationId":"org-1","ticketExpirationSeconds":0,"urlBase":"auvious.video"}`
	s.post(t, facadePath, body).WantError(t, http.StatusGatewayTimeout, "timeout")
	event, err := messages.Decode[messages.Started](s.stored(t, account, "a").Data)
	if err != nil {
		t.Fatalf("decoding the event: %v", err)
	}
	got := event.Data
	if got.ApplicationID != "app-1" || got.Destination != "standalone" || got.OrganizationID != "org-1" ||
		got.URLBase != "https://auvious.video" || got.TicketExpirationSeconds == nil || *got.TicketExpirationSeconds != 0 {
		t.Errorf("the caller's fields: got %+v", got.RoomOptions)
	}
	if got.Source != messages.SourceAction || got.Channel != messages.ChannelAction || got.CustomerID != "customer-1" {
		t.Errorf("the event: got source %q, channel %q, customer %q", got.Source, got.Channel, got.CustomerID)
	}
}

// The links still come after an action has timed out.
func TestActionTimeout(t *testing.T) {
	s := newSite(t, setup{actionTimeout: time.Millisecond})
	s.post(t, facadePath, action("a")).WantError(t, http.StatusGatewayTimeout, "timeout")
	s.worker(t, makesRooms)
	again := newSite(t, setup{on: s})
	again.post(t, facadePath, action("a")).wantRoom(t, "a", 1)
}

// An action finds its links, or their failure, even if the feed reports nothing.
func TestActionLooksBeforeItGivesUp(t *testing.T) {
	s := newSite(t, setup{deadFeed: true, actionTimeout: 2 * time.Second})
	s.worker(t, func(started messages.Started) (messages.Links, *messages.DeadLetter) {
		if started.InteractionID == "b" {
			return messages.Links{}, deadLetterOf(started)
		}
		return roomOf(started), nil
	})
	s.post(t, facadePath, action("a")).wantRoom(t, "a", 1)
	for range 2 { // the second time an older dead letter is there
		s.post(t, facadePath, action("b")).WantError(t, http.StatusBadGateway, messages.ReasonRejected)
	}
	if got := s.events(t, account, "accepted"); got != 3 {
		t.Errorf("accepted actions: got %v, want 3", got)
	}
}

func TestActionRenewsAnExpiredTicket(t *testing.T) {
	s := newSite(t, setup{})
	expired := roomOf(messages.Started{Request: messages.Request{
		Conversation: roomlinktest.Conversation("a"), CustomerID: "c",
	}})
	expired.ExpiresAt = messages.At(time.Now().Add(-time.Second))
	if err := s.storeLinks(roomlinktest.Context(t), expired); err != nil {
		t.Fatalf("storing links: %v", err)
	}
	s.worker(t, makesRooms)
	s.post(t, facadePath, action("a")).wantRoom(t, "a", 2)
	s.post(t, facadePath, action("a")).wantRoom(t, "a", 2)
}

// An action neither answers revoked links nor replaces them.
func TestActionRefusesRevokedLinks(t *testing.T) {
	s := newSite(t, setup{})
	s.worker(t, makesRooms)
	s.post(t, facadePath, action("a")).wantRoom(t, "a", 1)
	roomlinktest.Await(t, "an empty queue", func() bool { // the worker acknowledges an event after it has stored the links
		return s.stream(t).CachedInfo().State.Msgs == 0
	})
	if _, err := s.store.Revoke(roomlinktest.Context(t), roomlinktest.Conversation("a"), time.Now()); err != nil {
		t.Fatalf("revoking: %v", err)
	}
	for range 2 {
		s.post(t, facadePath, action("a")).WantError(t, http.StatusGone, "revoked")
	}
	s.wantStored(t, 0)
	if got := s.events(t, account, "revoked"); got != 2 {
		t.Errorf("refused actions: got %v, want 2", got)
	}
	if _, err := s.store.Renew(roomlinktest.Context(t), roomlinktest.Conversation("a"), messages.SourceAPI, time.Now()); err != nil {
		t.Fatalf("renewing: %v", err)
	}
	state := s.await(t, "a", store.StatusReady)
	if got := state.Links.Data.Generation; got != 2 {
		t.Errorf("generation: got %d, want 2", got)
	}
	s.post(t, facadePath, action("a")).wantRoom(t, "a", 2)
}

// An operator may revoke the links while an action waits for them.
func TestActionWhoseLinksAreRevoked(t *testing.T) {
	s := newSite(t, setup{})
	s.worker(t, func(started messages.Started) (messages.Links, *messages.DeadLetter) {
		return roomOf(started).Revoke(messages.At(time.Now())), nil
	})
	s.post(t, facadePath, action("a")).WantError(t, http.StatusGone, "revoked")
}

// await waits until a conversation of [account] has a status.
func (s *site) await(tb testing.TB, id string, status store.Status) (state store.State) {
	tb.Helper()
	err := s.feed(tb).Follow(roomlinktest.Context(tb), roomlinktest.Conversation(id), 0, func(now store.State) bool {
		state = now
		return now.Status == status
	})
	if err != nil {
		tb.Fatalf("waiting for %q: %v", status, err)
	}
	return state
}

// An action reports a failure. The next call tries again, although the broker still
// remembers the event.
func TestActionRetriesAFailedConversation(t *testing.T) {
	s := newSite(t, setup{})
	calls := 0
	s.worker(t, func(started messages.Started) (messages.Links, *messages.DeadLetter) {
		if calls++; calls > 2 {
			return roomOf(started), nil
		}
		return messages.Links{}, deadLetterOf(started)
	})
	for range 2 {
		s.post(t, facadePath, action("a")).WantError(t, http.StatusBadGateway, messages.ReasonRejected)
	}
	s.post(t, facadePath, action("a")).wantRoom(t, "a", 1)
}

func TestActionRefuses(t *testing.T) {
	s := newSite(t, setup{accounts: []accounts.Account{withApplication(account, "app-1"), {Name: other}}})
	for _, test := range []struct {
		name, body string
		status     int
		code       string
		edits      []edit
	}{
		{"without credentials", action("a"), http.StatusUnauthorized, "unauthorized", []edit{without("X-API-Key")}},
		{"not JSON", action("a"), http.StatusUnsupportedMediaType, "not_json", []edit{with("Content-Type", "text/plain")}},
		{"an event of an Automation", automation("a"), http.StatusBadRequest, "schema", nil},
		{"an additional property", `{"applicationId":"app-1","cdestination":"s","customerId":"c","interactionId":"a","x":1}`, http.StatusBadRequest, "schema", nil},
		{"nothing", `{}`, http.StatusBadRequest, "schema", nil},
		{"an empty id", action(""), http.StatusBadRequest, "bad_interaction_id", nil},
		{"an unresolved id", action("{{interaction_id}}"), http.StatusBadRequest, "bad_interaction_id", nil},
		{"another application", `{"applicationId":"app-2","cdestination":"s","customerId":"c","interactionId":"a"}`, http.StatusBadRequest, "wrong_application", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.post(t, facadePath, test.body, test.edits...).WantError(t, test.status, test.code)
		})
	}
	s.wantStored(t, 0)
}

func TestActionOfAnotherAccount(t *testing.T) {
	s := newSite(t, setup{})
	s.worker(t, makesRooms)
	s.post(t, facadePath, action("a")).wantRoom(t, "a", 1)
	theirs := newSite(t, setup{on: s, actionTimeout: time.Millisecond})
	theirs.post(t, facadePath, action("a"), withKey(otherKey)).WantError(t, http.StatusGatewayTimeout, "timeout")
}

func TestActionWithoutABroker(t *testing.T) {
	s := newSite(t, setup{})
	s.broker.Close()
	answer := s.post(t, facadePath, action("a"))
	answer.WantError(t, http.StatusServiceUnavailable, "queue_unavailable")
	if answer.Header.Get("Retry-After") == "" {
		t.Error("got no Retry-After")
	}
}

func TestRate(t *testing.T) {
	s := newSite(t, setup{accounts: []accounts.Account{{Name: account, Talkdesk: accounts.Talkdesk{Rate: 0.001}}, {Name: other}}})
	s.post(t, eventsPath, automation("a")).wantStatus(t, http.StatusAccepted, "accepted")
	answer := s.post(t, eventsPath, automation("b"))
	answer.WantError(t, http.StatusTooManyRequests, "too_many_requests")
	if got := answer.Header.Get("Retry-After"); got == "" || got == "0" {
		t.Errorf("Retry-After: got %q, want seconds", got)
	}
	s.post(t, facadePath, action("b")).WantError(t, http.StatusTooManyRequests, "too_many_requests")
	s.post(t, eventsPath, automation("b"), withKey("wrong")).WantError(t, http.StatusUnauthorized, "unauthorized")
	s.post(t, eventsPath, automation("b"), withKey(otherKey)).wantStatus(t, http.StatusAccepted, "accepted")
}
