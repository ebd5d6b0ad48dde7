package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
	"roomlink/webhook"
)

// newHandler returns a webhook without a server. A test that stores nothing needs no store.
func newHandler(tb testing.TB, s *store.Store) http.Handler {
	tb.Helper()
	keys, err := access.NewKeys(linkKey)
	if err != nil {
		tb.Fatalf("making keys: %v", err)
	}
	router := web.NewRouter()
	webhook.New(webhook.Config{
		Store:         s,
		Authenticator: newAuthenticator(tb, keys, clientSecret),
		Pages:         access.Pages{Keys: keys, BaseURL: baseURL, Lifetime: pageLifetime},
		Accounts:      []accounts.Account{{Name: account}, {Name: other}},
		Logger:        zerolog.Nop(),
		Registerer:    prometheus.NewRegistry(),
	}).Routes(router)
	return router
}

// The webhook stores the event of a caller that hung up: the caller may never send it again.
func TestCallerHungUp(t *testing.T) {
	s := roomlinktest.Store(t, roomlinktest.StartBroker(t))
	handler := newHandler(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, eventsPath, strings.NewReader(automation("a")))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-API-Key", apiKey)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusAccepted {
		t.Errorf("got %d %s, want 202", w.Code, w.Body)
	}
	if _, err := s.Waiting(roomlinktest.Context(t), messages.Conversation{Account: account, InteractionID: "a"}); err != nil {
		t.Errorf("reading the event: got error %v, want it", err)
	}
}

// FuzzTokenForm checks that a token needs a form with a client's credentials and without a
// repeated parameter.
func FuzzTokenForm(f *testing.F) {
	handler := newHandler(f, nil)
	good := url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {clientSecret}}.Encode()
	for _, seed := range [][2]string{
		{good, ""},
		{good, "Basic Og=="},
		{"grant_type=client_credentials", "Basic Y29ubmVjdGlvbnM6YWNtZS1pbnZlbnRlZC1jbGllbnQtc2VjcmV0"},
		{good + "&client_id=", ""},
		{"", ""},
		{"grant_type=%zz", ""},
		{"&&&=;", ""},
		{good, "Bearer x"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, form, authorization string) {
		r := httptest.NewRequest(http.MethodPost, tokenPath, strings.NewReader(form))
		r.Header.Set("Content-Type", formType)
		r.Header["Authorization"] = []string{authorization}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("got %d %s, want JSON", w.Code, w.Body)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control: got %q, want no-store", w.Header().Get("Cache-Control"))
		}
		if w.Code != http.StatusOK {
			code, _ := got["error"].(string)
			text, _ := got["error_description"].(string)
			if len(got) != 2 || code == "" || !description.MatchString(text) {
				t.Errorf("got %d %s, want an error of RFC 6749", w.Code, w.Body)
			}
			return
		}
		values, err := url.ParseQuery(form)
		user, password, basic := r.BasicAuth()
		if !basic {
			user, password = values.Get("client_id"), values.Get("client_secret")
		} else {
			user, _ = url.QueryUnescape(user)
			password, _ = url.QueryUnescape(password)
		}
		if err != nil || values.Get("grant_type") != "client_credentials" ||
			(user != clientID || password != clientSecret) && (user != oddID || password != oddSecret) {
			t.Errorf("form %q with %q: got a token, want a refusal", form, authorization)
		}
	})
}

// BenchmarkEvents measures concurrent deliveries up to the acknowledgement of a broker
// that does not sync every write.
func BenchmarkEvents(b *testing.B) {
	handler := newHandler(b, roomlinktest.Store(b, roomlinktest.StartBroker(b)))
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			deliver(b, handler, automation(fmt.Sprintf("conversation-%d", next.Add(1))), http.StatusAccepted)
		}
	})
}

func BenchmarkDuplicates(b *testing.B) {
	handler := newHandler(b, roomlinktest.Store(b, roomlinktest.StartBroker(b)))
	deliver(b, handler, automation("a"), http.StatusAccepted)
	b.ReportAllocs()
	for b.Loop() {
		deliver(b, handler, automation("a"), http.StatusOK)
	}
}

func BenchmarkIgnored(b *testing.B) {
	handler := newHandler(b, nil)
	body := sample(b, "automation-inbound-call-ends.json")
	b.ReportAllocs()
	for b.Loop() {
		deliver(b, handler, body, http.StatusOK)
	}
}

func deliver(b *testing.B, handler http.Handler, body string, want int) {
	r := httptest.NewRequest(http.MethodPost, eventsPath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-API-Key", apiKey)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != want {
		b.Errorf("got %d %s, want %d", w.Code, w.Body, want)
	}
}

// Talkdesk's Connections fetch an access token, and post events with it.
func Example() {
	keys, err := access.NewKeys("an invented key of at least 32 bytes")
	if err != nil {
		fmt.Println(err)
		return
	}
	authenticator, err := access.NewAuthenticator(access.Config{
		Accounts: []accounts.Account{{Name: "acme", Talkdesk: accounts.Talkdesk{Credentials: accounts.Credentials{
			Clients: []accounts.Client{{Name: "connections", ID: "talkdesk", Secret: "invented"}},
		}}}},
		Keys: keys, TokenLifetime: time.Hour,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	router := web.NewRouter()
	webhook.New(webhook.Config{
		Authenticator: authenticator, Accounts: []accounts.Account{{Name: "acme"}}, Registerer: prometheus.NewRegistry(),
	}).Routes(router)

	ask := func(path, contentType, body, bearer string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Authorization", "Bearer "+bearer)
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		return w
	}
	answer := ask("/security/oauth/token", "application/x-www-form-urlencoded",
		"grant_type=client_credentials&client_id=talkdesk&client_secret=invented", "")
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &token); err != nil {
		fmt.Println(err)
		return
	}

	call := `{"event":"inbound_call_ends","interaction_id":"9b3d5e7f"}`
	fmt.Print(ask("/talkdesk/events", "application/json", call, token.AccessToken).Body)
	fmt.Print(ask("/talkdesk/events", "application/json", call, "guess").Body)
	// Output:
	// {"status":"ignored","interactionId":"9b3d5e7f","contextUrl":"","customerUrl":"","cardUrl":""}
	// {"error":"unauthorized","error_description":"the credentials are not valid"}
}
