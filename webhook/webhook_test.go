package webhook_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// TestShapes checks every field of what is stored for each shape. The samples contain
// names, phone numbers and mail addresses, which are not stored.
func TestShapes(t *testing.T) {
	s := newSite(t, setup{})
	for _, test := range []struct {
		name, body, id, want string
	}{
		{
			name: "Automations", body: sample(t, "automation-inbound-call-starts.json"),
			id: "9b3d5e7f1a2c4b6d8e0f1a2b3c4d5e6f",
			want: `{"account":"acme","interactionId":"9b3d5e7f1a2c4b6d8e0f1a2b3c4d5e6f",
				"customerId":"60d5ec49f1e4b2a7c8d9e0f1","channel":"voice","source":"automation","receivedAt":"now"}`,
		},
		{
			name: "Automations without a contact", id: "no-contact",
			body: `{"event":"starts","interaction_id":"no-contact","contact_id":""}`,
			want: `{"account":"acme","interactionId":"no-contact","customerId":"no-contact",
				"channel":"voice","source":"automation","receivedAt":"now"}`,
		},
		{
			name: "Automations with an unresolved contact", id: "odd-contact",
			body: `{"event":"starts","interaction_id":"odd-contact","contact_id":"{{contact.id}}"}`,
			want: `{"account":"acme","interactionId":"odd-contact","customerId":"odd-contact",
				"channel":"voice","source":"automation","receivedAt":"now"}`,
		},
		{
			name: "Digital Connect", body: sample(t, "digital-connect-conversation-started.json"),
			id: "3c9a7e1f5b2d4068a1c3e5f7092b4d6f",
			want: `{"account":"acme","interactionId":"3c9a7e1f5b2d4068a1c3e5f7092b4d6f",
				"customerId":"3c9a7e1f5b2d4068a1c3e5f7092b4d6f","channel":"digital","source":"digital_connect",
				"startedAt":"2026-11-22T09:00:00.000Z","receivedAt":"now"}`,
		},
		{
			name: "Digital Connect with a bad timestamp", id: "odd-time",
			body: `{"event_type":"conversation_started","conversation_id":"odd-time","timestamp":"yesterday"}`,
			want: `{"account":"acme","interactionId":"odd-time","customerId":"odd-time",
				"channel":"digital","source":"digital_connect","receivedAt":"now"}`,
		},
		{
			name: "an action", body: sample(t, "room-request.json"), id: "abc123",
			want: `{"account":"acme","interactionId":"abc123","customerId":"abc123","channel":"action","source":"action",
				"receivedAt":"now","applicationId":"<your-application-id>","cdestination":"standalone",
				"organizationId":"talkdesk","ticketExpirationSeconds":0,"urlBase":"https://auvious.video"}`,
		},
		{
			name: "an action with only the required fields", id: "lean",
			body: `{"applicationId":"app","cdestination":"standalone","customerId":"contact","interactionId":"lean"}`,
			want: `{"account":"acme","interactionId":"lean","customerId":"contact","channel":"action","source":"action",
				"receivedAt":"now","applicationId":"app","cdestination":"standalone"}`,
		},
		{
			name: "an action with an exponent in its integer", id: "3.6e3",
			body: `{"applicationId":"app","cdestination":"standalone","customerId":"{{contact}}","interactionId":"3.6e3",
				"ticketExpirationSeconds":3.6e3,"urlBase":"http://auvious.video:8080/x"}`,
			want: `{"account":"acme","interactionId":"3.6e3","customerId":"3.6e3","channel":"action","source":"action",
				"receivedAt":"now","applicationId":"app","cdestination":"standalone","ticketExpirationSeconds":3600,
				"urlBase":"http://auvious.video:8080/x"}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := time.Now()
			s.post(t, eventsPath, test.body).wantStatus(t, http.StatusAccepted, "accepted")
			s.wantEvent(t, test.id, test.want, before)
		})
	}
	s.wantStored(t, 8)
}

// wantEvent checks the data, the envelope and the headers of a stored event in [account].
func (s *site) wantEvent(t *testing.T, id, data string, before time.Time) {
	t.Helper()
	msg := s.stored(t, account, id)
	conversation := messages.Conversation{Account: account, InteractionID: id}
	if want := "roomlink.conversations.acme." + messages.Token(id); msg.Subject != want {
		t.Errorf("subject: got %q, want %q", msg.Subject, want)
	}
	for name, want := range map[string]string{
		"Content-Type": messages.ContentType, "Nats-Msg-Id": store.MessageID(messages.Started{Request: messages.Request{Conversation: conversation}}),
		"Nats-Expected-Stream": messages.ConversationsStream,
	} {
		if got := msg.Header[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("header %s: got %q, want %q", name, got, want)
		}
	}
	if len(msg.Header) != 3 {
		t.Errorf("headers: got %v, want no others", msg.Header)
	}
	event, err := messages.Decode[messages.Started](msg.Data)
	if err != nil {
		t.Fatalf("decoding the event: %v", err)
	}
	got, want := members(t, msg.Data), map[string]any{
		"specversion": "1.0", "id": event.ID, "source": "roomlink/acme", "type": messages.TypeStarted,
		"subject": id, "time": event.Time.String(), "datacontenttype": "application/json",
		"data": members(t, []byte(strings.Replace(data, `"now"`, fmt.Sprintf("%q", event.Time), 1))),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("event:\n got %v\nwant %v", got, want)
	}
	if at := event.Time.Time; at.Before(before.Truncate(time.Millisecond)) || at.After(time.Now()) {
		t.Errorf("time of the event: got %v, want one since %v", at, before)
	}
}

func members(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatalf("reading %s: %v", data, err)
	}
	return object
}

func TestStartEvents(t *testing.T) {
	s := newSite(t, setup{accounts: []accounts.Account{
		{Name: account}, {Name: other, Talkdesk: accounts.Talkdesk{StartEvents: []string{"Call_Ringing", "CONVERSATION_CREATED"}}},
	}})
	for i, test := range []struct {
		key, field, name string
		want             string
	}{
		{apiKey, "event", "inbound_call_starts", "accepted"},
		{apiKey, "event", "INBOUND_CALL_STARTS", "accepted"},
		{apiKey, "event", "Call Started", "accepted"},
		{apiKey, "event", "inbound_call_ends", "ignored"},
		{apiKey, "event", "call_ringing", "ignored"},
		{apiKey, "event_type", "CONVERSATION_STARTED", "accepted"},
		{apiKey, "event_type", "conversation_started", "accepted"},
		{apiKey, "event_type", "CONVERSATION_ENDED", "ignored"},
		{apiKey, "event_type", "MESSAGE_CREATED", "ignored"},
		{otherKey, "event", "call_ringing", "accepted"},
		{otherKey, "event", "CALL_RINGING", "accepted"},
		{otherKey, "event", "call_ringing_again", "ignored"},
		{otherKey, "event", "inbound_call_starts", "ignored"},
		{otherKey, "event_type", "conversation_created", "accepted"},
		{otherKey, "event_type", "conversation_started", "ignored"},
	} {
		id := fmt.Sprintf("conversation-%d", i)
		got := s.post(t, eventsPath, encode(map[string]string{
			test.field: test.name, "interaction_id": id, "conversation_id": id,
		}), withKey(test.key))
		status := http.StatusOK
		if test.want == "accepted" {
			status = http.StatusAccepted
		}
		answer := got.wantStatus(t, status, test.want)
		if answer["interactionId"] != id {
			t.Errorf("%s %q: got interactionId %q, want %q", test.field, test.name, answer["interactionId"], id)
		}
	}
	s.wantStored(t, 8)
}

func TestIgnoredEventsAreNotStored(t *testing.T) {
	s := newSite(t, setup{})
	for name, body := range map[string]string{
		"ended":           sample(t, "automation-inbound-call-ends.json"),
		"message created": sample(t, "digital-connect-message-created.json"),
		"without an id":   `{"event":"inbound_call_ends"}`,
		"with a template": `{"event":"inbound_call_ends","interaction_id":"{{interaction_id}}"}`,
	} {
		got := s.post(t, eventsPath, body).wantStatus(t, http.StatusOK, "ignored")
		if got["contextUrl"]+got["customerUrl"]+got["cardUrl"] != "" {
			t.Errorf("%s: got %v, want no addresses", name, got)
		}
	}
	s.wantStored(t, 0)
}

func TestDuplicates(t *testing.T) {
	s := newSite(t, setup{})
	first := s.post(t, eventsPath, automation("a")).wantStatus(t, http.StatusAccepted, "accepted")
	// A transfer starts the same call again. Another shape may also report it.
	for name, body := range map[string]string{
		"again":           automation("a"),
		"by a transfer":   `{"event":"inbound_call_starts","interaction_id":"a","is_transfer":"true","contact_id":"contact-2"}`,
		"Digital Connect": `{"event_type":"CONVERSATION_STARTED","conversation_id":"a"}`,
		"an action":       `{"applicationId":"app","cdestination":"standalone","customerId":"c","interactionId":"a"}`,
	} {
		got := s.post(t, eventsPath, body).wantStatus(t, http.StatusOK, "duplicate")
		if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(first))) || got["interactionId"] != "a" {
			t.Errorf("%s: got %v, want the fields of %v", name, got, first)
		}
		s.wantPages(t, got)
	}
	s.wantStored(t, 1)
	if event := s.stored(t, account, "a"); !strings.Contains(string(event.Data), "contact-1") {
		t.Errorf("stored event: got %s, want the first", event.Data)
	}

	roomlinktest.SettleNext(t, s.store)
	s.post(t, eventsPath, automation("a")).wantStatus(t, http.StatusOK, "duplicate")
	s.wantStored(t, 0)
}

func TestConcurrentDeliveries(t *testing.T) {
	s := newSite(t, setup{})
	const deliveries = 100
	replies := make([]reply, deliveries)
	var group sync.WaitGroup
	for i := range deliveries {
		r := s.request(t, http.MethodPost, eventsPath, strings.NewReader(automation("a")))
		group.Go(func() {
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Errorf("delivery %d: %v", i, err)
				return
			}
			replies[i] = reply{roomlinktest.ReadReply(t, answer)}
		})
	}
	group.Wait()
	accepted := 0
	for _, got := range replies {
		if got.Status == http.StatusAccepted {
			got.wantStatus(t, http.StatusAccepted, "accepted")
			accepted++
			continue
		}
		got.wantStatus(t, http.StatusOK, "duplicate")
	}
	if accepted != 1 {
		t.Errorf("%d deliveries at once: got %d accepted, want 1", deliveries, accepted)
	}
	s.wantStored(t, 1)
}

func TestPagesOfTheAnswer(t *testing.T) {
	s := newSite(t, setup{})
	for _, id := range []string{"plain", "with space/and.dots", "ünïcode", strings.Repeat("x", messages.MaxInteractionID)} {
		got := s.post(t, eventsPath, automation(id)).wantStatus(t, http.StatusAccepted, "accepted")
		if got["interactionId"] != id {
			t.Errorf("interactionId: got %q, want %q", got["interactionId"], id)
		}
		s.wantPages(t, got)
	}
}

// wantPages checks that each address in an answer opens its own page of the conversation
// in [account], and no other page.
func (s *site) wantPages(t *testing.T, answer map[string]string) {
	t.Helper()
	now := time.Now()
	for _, test := range []struct {
		field, prefix string
		purpose       access.Purpose
	}{
		{"contextUrl", baseURL + "/open/", access.PurposeAgent},
		{"customerUrl", baseURL + "/open/", access.PurposeCustomer},
		{"cardUrl", baseURL + "/card/", access.PurposeCard},
	} {
		token, ok := strings.CutPrefix(answer[test.field], test.prefix)
		if !ok {
			t.Errorf("%s: got %q, want one under %q", test.field, answer[test.field], test.prefix)
			continue
		}
		for _, purpose := range []access.Purpose{
			access.PurposeAccess, access.PurposeAgent, access.PurposeCustomer, access.PurposeCard,
		} {
			claims, err := s.keys.Verify(token, purpose, now)
			if purpose != test.purpose {
				if err == nil {
					t.Errorf("%s: got one that opens purpose %d, want only %d", test.field, purpose, test.purpose)
				}
				continue
			}
			left := claims.Expires.Sub(now)
			if err != nil || claims.Account != account || claims.Subject != answer["interactionId"] ||
				left > pageLifetime+time.Hour || left < pageLifetime-time.Minute {
				t.Errorf("%s: got %+v and error %v, want the conversation for a day", test.field, claims, err)
			}
		}
	}
}

func TestAuthentication(t *testing.T) {
	s := newSite(t, setup{})
	token := s.token(t, clientID, clientSecret)
	for _, test := range []struct {
		name    string
		edit    edit
		account string
	}{
		{"API key", withKey(apiKey), account},
		{"Basic", withBasic(basicUser, basicSecret), account},
		{"bearer", withBearer(token), account},
		{"API key of the other", withKey(otherKey), other},
	} {
		id := "by " + test.name
		s.post(t, eventsPath, automation(id), test.edit).wantStatus(t, http.StatusAccepted, "accepted")
		event, err := messages.Decode[messages.Started](s.stored(t, test.account, id).Data)
		if err != nil || event.Data.Account != test.account {
			t.Errorf("%s: got %+v and error %v, want account %q", test.name, event.Data, err, test.account)
		}
	}
}

// Nothing but the credentials decides the account.
func TestCredentialsDecideTheAccount(t *testing.T) {
	s := newSite(t, setup{})
	body := `{"event":"starts","interaction_id":"a","account":"globex","account_id":"globex","accountId":"globex"}`
	s.post(t, eventsPath+"?account=globex", body, with("X-Account", other), with("Cookie", "account=globex")).
		wantStatus(t, http.StatusAccepted, "accepted")
	s.stored(t, account, "a")
	s.wantStored(t, 1)
	// The same id in two accounts is two conversations.
	s.post(t, eventsPath, automation("a"), withKey(otherKey)).wantStatus(t, http.StatusAccepted, "accepted")
	s.stored(t, other, "a")
	s.wantStored(t, 2)
}

func TestForeignApplication(t *testing.T) {
	s := newSite(t, setup{accounts: []accounts.Account{withApplication(account, "ours")}})
	action := func(application string) string {
		return encode(map[string]string{
			"applicationId": application, "cdestination": "standalone", "customerId": "c", "interactionId": "a",
		})
	}
	s.post(t, eventsPath, action("theirs")).WantError(t, http.StatusBadRequest, "wrong_application")
	s.wantStored(t, 0)
	s.post(t, eventsPath, action("ours")).wantStatus(t, http.StatusAccepted, "accepted")
}

func (r reply) wantRetry(t *testing.T, code, after string) {
	t.Helper()
	r.WantError(t, http.StatusServiceUnavailable, code)
	if got := r.Header.Get("Retry-After"); got != after {
		t.Errorf("Retry-After: got %q, want %q", got, after)
	}
}

// The broker has one error code for a full queue and for an occupied subject. The webhook
// must not report a new event as a duplicate.
func TestFullQueue(t *testing.T) {
	s := newSite(t, setup{streams: store.StreamSettings{MaxBytes: 4 << 10}})
	accepted := 0
	var got reply
	for {
		got = s.post(t, eventsPath, automation(fmt.Sprintf("conversation-%d", accepted)))
		if got.Status != http.StatusAccepted || accepted == 100 {
			break
		}
		accepted++
	}
	got.wantRetry(t, "queue_full", "10")
	if accepted == 0 {
		t.Fatalf("events before the queue was full: got none, want some")
	}
	for range 3 {
		s.post(t, eventsPath, automation("another")).wantRetry(t, "queue_full", "10")
	}
	s.post(t, eventsPath, automation("conversation-0")).wantStatus(t, http.StatusOK, "duplicate")
	s.wantStored(t, uint64(accepted))

	roomlinktest.SettleNext(t, s.store)
	s.post(t, eventsPath, automation("another")).wantStatus(t, http.StatusAccepted, "accepted")
	if got := s.events(t, account, "unavailable"); got != 4 {
		t.Errorf("calls counted as unavailable: got %v, want 4", got)
	}
}

func TestBrokerGone(t *testing.T) {
	s := newSite(t, setup{})
	s.post(t, eventsPath, automation("a")).wantStatus(t, http.StatusAccepted, "accepted")
	s.broker.Close()
	began := time.Now()
	for _, id := range []string{"a", "b"} {
		s.post(t, eventsPath, automation(id)).wantRetry(t, "queue_unavailable", "2")
	}
	// Talkdesk waits for 5 s.
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("two answers: got them after %v, want them soon", took)
	}
	// These calls need no broker.
	s.post(t, eventsPath, `{"event":"inbound_call_ends"}`).wantStatus(t, http.StatusOK, "ignored")
	s.post(t, eventsPath, `{`).WantError(t, http.StatusBadRequest, "bad_json")
	s.token(t, clientID, clientSecret)
}

func TestAudit(t *testing.T) {
	s := newSite(t, setup{})
	token := s.token(t, clientID, clientSecret)
	s.post(t, eventsPath, automation("a"), withBearer(token)).wantStatus(t, http.StatusAccepted, "accepted")
	s.post(t, eventsPath, automation("a"), withBasic(basicUser, basicSecret)).wantStatus(t, http.StatusOK, "duplicate")
	s.post(t, eventsPath, sample(t, "automation-inbound-call-ends.json")).wantStatus(t, http.StatusOK, "ignored")
	s.post(t, eventsPath, `{}`).WantError(t, http.StatusBadRequest, "unknown_shape")
	s.post(t, eventsPath, automation("b"), withKey("guessed-key")).WantError(t, http.StatusUnauthorized, "unauthorized")
	s.form(t, "grant_type=client_credentials&client_id=connections&client_secret=guessed-secret").
		WantError(t, http.StatusUnauthorized, "invalid_client")

	for _, test := range []struct{ account, outcome string }{
		{account, "accepted"},
		{account, "duplicate"},
		{account, "ignored"},
		{account, "refused"},
		{"", "unauthorized"},
		{account, "token_issued"},
		{"", "token_refused"},
	} {
		if got := s.events(t, test.account, test.outcome); got != 1 {
			t.Errorf("calls of %q counted as %s: got %v, want 1", test.account, test.outcome, got)
		}
	}
	log := s.log.String()
	for _, want := range []string{
		`"credential":"acme client"`, `"credential":"acme basic"`, `"credential":"acme key"`,
		`"interaction_id":"a"`, `"outcome":"duplicate"`, `"shape":"automation"`, `"shape":"token"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("log: got\n%s\nwant %s in it", log, want)
		}
	}
	for _, secret := range []string{
		token, apiKey, basicSecret, clientSecret, "guessed", linkKey.Reveal(), "+15550100", "customer@example.com", "/open/", "/card/",
	} {
		if strings.Contains(log, secret) {
			t.Errorf("log: got\n%s\nwant no %q in it", log, secret)
		}
	}
}
