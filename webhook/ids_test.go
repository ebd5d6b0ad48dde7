package webhook_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/messages"
)

// shapes are the doors of the webhook. Each posts an interaction id and a contact's id.
var shapes = map[string]func(id, contact string) (path, body string){
	"Automations": func(id, contact string) (string, string) {
		return eventsPath, encode(map[string]string{"event": "inbound_call_starts", "interaction_id": id, "contact_id": contact})
	},
	"Digital Connect": func(id, _ string) (string, string) {
		return eventsPath, encode(map[string]string{"event_type": "CONVERSATION_STARTED", "conversation_id": id})
	},
	"an action's event": func(id, contact string) (string, string) {
		return eventsPath, room("interactionId", encode(id), "customerId", encode(contact))
	},
	"an action": func(id, contact string) (string, string) {
		return "/security/facades/room", room("interactionId", encode(id), "customerId", encode(contact))
	},
}

// noIDs are what arrives where nobody filled in a variable.
var noIDs = []string{
	"{{interaction_id}}", "%{interaction_id}", "${interaction_id}", "{interaction_id}", "<interaction_id>", "<%= interaction_id %>",
	"#{interaction_id}", "[[interaction_id]]", "%interaction_id%", "$interaction_id", ":interactionId", "{{interaction", "action_id}}",
	"%{interaction", "action_id}", " %{interaction_id} ", "call-%{id}", "null", "NULL", "undefined", "None", "nil", "N/A", "NaN",
	"[object Object]", "<no value>", "00000000-0000-0000-0000-000000000000",
}

func TestNoInteractionID(t *testing.T) {
	s := newSite(t, setup{})
	for name, shape := range shapes {
		for _, id := range noIDs {
			path, body := shape(id, "contact-1")
			got := s.post(t, path, body)
			got.WantError(t, http.StatusBadRequest, "bad_interaction_id")
			if !strings.Contains(got.Body, "replace it by the variable") {
				t.Errorf("%s, %q: got %s, want a sentence that says what to do", name, id, got.Body)
			}
		}
		for _, id := range []string{" \u2003", "a\x00b", strings.Repeat("x", 3000)} {
			path, body := shape(id, "contact-1")
			s.post(t, path, body).WantError(t, http.StatusBadRequest, "bad_interaction_id")
		}
	}
	s.wantStored(t, 0)
}

// A contact's id that is none is left out: auvious gets the interaction id for it.
func TestNoContact(t *testing.T) {
	s := newSite(t, setup{actionTimeout: time.Millisecond})
	long := strings.Repeat("x", 3000)
	contacts := append([]string{"", " ", "\u2003", "a\x00b", long, long[:257]}, noIDs...)
	for name, shape := range shapes {
		for i, contact := range contacts {
			id := fmt.Sprintf("%s %d", name, i)
			path, body := shape(id, contact)
			if got := s.post(t, path, body); got.Status != http.StatusAccepted && got.Status != http.StatusGatewayTimeout {
				t.Errorf("%s, contact %q: got %d %s, want 202, or 504 for an action", name, contact, got.Status, got.Body)
			}
			if got := s.started(t, id).CustomerID; got != id {
				t.Errorf("%s, contact %q: got customer %q, want %q", name, contact, got, id)
			}
		}
		path, body := shape(name, " a{b\u00a0")
		s.post(t, path, body)
		if got := s.started(t, name).CustomerID; got != "a{b" && name != "Digital Connect" {
			t.Errorf("%s: got customer %q, want the contact without white space", name, got)
		}
	}
}

// started returns the stored event of a conversation.
func (s *site) started(t *testing.T, id string) messages.Started {
	t.Helper()
	event, err := messages.Decode[messages.Started](s.stored(t, account, id).Data)
	if err != nil {
		t.Fatalf("event of %q: %v", id, err)
	}
	return event.Data
}

func TestWhiteSpaceAroundIDs(t *testing.T) {
	s := newSite(t, setup{})
	for name, shape := range shapes {
		if name == "an action" {
			continue // it waits for links
		}
		status := map[string]int{"accepted": http.StatusAccepted, "duplicate": http.StatusOK}
		want := "accepted"
		for _, text := range []string{name, name + " ", "\t" + name, "\u2003" + name + "\u00a0\r\n", "\u0085" + name + "\u3000"} {
			path, body := shape(text, "contact-1")
			if got := s.post(t, path, body).wantStatus(t, status[want], want); got["interactionId"] != name {
				t.Errorf("%q: got interactionId %q, want %q", text, got["interactionId"], name)
			}
			want = "duplicate"
		}
	}
}

// The template of the guide, pasted as it is, is refused. So is one with the event alone
// still a placeholder.
func TestTemplateOfTheGuide(t *testing.T) {
	s := newSite(t, setup{accounts: []accounts.Account{{Name: account}, {Name: other, Talkdesk: accounts.Talkdesk{
		StartEvents: []string{"{{event}}"},
	}}}})
	guide, err := os.ReadFile("../docs/talkdesk.md")
	if err != nil {
		t.Fatalf("reading the guide: %v", err)
	}
	_, section, _ := strings.Cut(string(guide), "## Way A")
	_, template, _ := strings.Cut(section, "```json\n")
	template, _, found := strings.Cut(template, "```")
	if !found || !strings.Contains(template, "{{event}}") || !strings.Contains(template, "{{interaction_id}}") {
		t.Fatalf("template of way A: got %q, want placeholders", template)
	}
	s.post(t, eventsPath, template).WantError(t, http.StatusBadRequest, "bad_interaction_id")
	filled := strings.ReplaceAll(template, "{{interaction_id}}", "call-1")
	s.post(t, eventsPath, filled).WantError(t, http.StatusBadRequest, "bad_event_name")
	for _, name := range []string{"%{event}", "{{event", "null", "{{starts}}", " "} {
		for _, body := range []string{
			encode(map[string]string{"event": name, "interaction_id": "call-1"}),
			encode(map[string]string{"event_type": name, "conversation_id": "call-1"}),
		} {
			s.post(t, eventsPath, body).WantError(t, http.StatusBadRequest, "bad_event_name")
		}
	}
	s.wantStored(t, 0)
	s.post(t, eventsPath, encode(map[string]string{"event": "inbound_call_ends", "interaction_id": "{{interaction_id}}"})).
		wantStatus(t, http.StatusOK, "ignored")
	s.post(t, eventsPath, filled, withKey(otherKey)).wantStatus(t, http.StatusAccepted, "accepted")
}

func TestURLBase(t *testing.T) {
	s := newSite(t, setup{accounts: []accounts.Account{
		{Name: account},
		{Name: other, Links: accounts.Links{LinkHosts: accounts.LinkHosts{"auvious.video", "*.bücher.example"}}},
	}})
	for i, test := range []struct {
		key, text string
		// want is the stored urlBase; "" for a refusal.
		want string
	}{
		{apiKey, "auvious.video", "https://auvious.video"},
		{apiKey, "https://eu.auvious.video/x", "https://eu.auvious.video/x"},
		{apiKey, "bücher.example", "https://xn--bcher-kva.example"},
		{apiKey, "https:/auvious.video", ""},
		{apiKey, "https//auvious.video", ""},
		{apiKey, "https:auvious.video", ""},
		{apiKey, "{{url_base}}", ""},
		{apiKey, "null", ""},
		{otherKey, "auvious.video", "https://auvious.video"},
		{otherKey, "https://a.bücher.example", "https://a.xn--bcher-kva.example"},
		{otherKey, "eu.auvious.video", ""},
		{otherKey, "https://auvious.video.example", ""},
		{otherKey, "https://bücher.example", ""},
	} {
		id := "call-" + string(rune('a'+i))
		got := s.post(t, eventsPath, room("interactionId", encode(id), "urlBase", encode(test.text)), withKey(test.key))
		if test.want == "" {
			got.WantError(t, http.StatusBadRequest, "bad_url_base")
			continue
		}
		got.wantStatus(t, http.StatusAccepted, "accepted")
		name := map[string]string{apiKey: account, otherKey: other}[test.key]
		event, err := messages.Decode[messages.Started](s.stored(t, name, id).Data)
		if err != nil || event.Data.URLBase != test.want {
			t.Errorf("%q: got %q and error %v, want %q", test.text, event.Data.URLBase, err, test.want)
		}
	}
}

// FuzzConversations posts two ids, each through any door, and checks that they are one
// conversation only if they differ in nothing but the white space around them.
func FuzzConversations(f *testing.F) {
	doors := []string{"Automations", "Digital Connect", "an action's event"}
	for i, pair := range [][2]string{
		{"abc", "abc "},
		{"abc", "ABC"},
		{"é", "e\u0301"},
		{"a b", "a  b"},
		{"null", "undefined"},
		{"a{b", "a}b"},
		{"%{a}", "%{b}"},
		{"\u2003abc", "abc\u200b"},
		{"~abc", "abc"},
		{"a%20b", "a b"},
		{"ſ", "s"},
		{"a\xffb", "a\ufffdb"},
	} {
		f.Add(pair[0], pair[1], uint8(i), uint8(i/2))
	}
	s := newSite(f, setup{})
	f.Fuzz(func(t *testing.T, a, b string, doorA, doorB uint8) {
		conversation := func(id string, door uint8) (subject string, ok bool) {
			path, body := shapes[doors[int(door)%len(doors)]](id, "contact-1")
			got := s.post(t, path, body)
			if got.Status/100 != 2 {
				return "", false
			}
			address := got.Flat(t)["cardUrl"]
			claims, err := s.keys.Verify(address[strings.LastIndex(address, "/")+1:], access.PurposeCard, time.Now())
			if err != nil {
				t.Fatalf("card of %q: %v", id, err)
			}
			return messages.Conversation{Account: claims.Account, InteractionID: claims.Subject}.EventSubject(), true
		}
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return // JSON has no such text
		}
		first, okA := conversation(a, doorA)
		second, okB := conversation(b, doorB)
		same := strings.TrimFunc(a, unicode.IsSpace) == strings.TrimFunc(b, unicode.IsSpace)
		if okA && okB && (first == second) != same {
			t.Errorf("%q and %q: got %s and %s, want one conversation: %t", a, b, first, second, same)
		}
	})
}
