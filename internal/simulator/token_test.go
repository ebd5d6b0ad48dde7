package simulator_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"roomlink/internal/simulator"
)

func TestTokenAnswer(t *testing.T) {
	for _, test := range []struct {
		name     string
		lifetime time.Duration
		want     any
	}{
		{"default", 0, 3600.0},
		{"rounded up", 1500 * time.Millisecond, 2.0},
		{"without expires_in", -1, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := serve(t, simulator.Config{TokenLifetime: test.lifetime})
			answer := mustDo(t, request(t, http.MethodPost, a.url+"/security/oauth/token",
				formType+"; charset=utf-8", form("simulator", "simulator-secret")))
			wantStatus(t, answer, http.StatusOK)
			if got := answer.fields(t)["expires_in"]; got != test.want {
				t.Errorf("got expires_in %v, want %v", got, test.want)
			}
			if got := answer.fields(t)["token_type"]; got != "Bearer" {
				t.Errorf("got token_type %v, want Bearer", got)
			}
			if got := answer.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("got Cache-Control %q, want no-store", got)
			}
			token := answer.fields(t)["access_token"].(string)
			wantStatus(t, mustDo(t, a.roomRequest(t, token, roomBody("1"))), http.StatusOK)
		})
	}
}

func TestTokenRefusals(t *testing.T) {
	valid := form("simulator", "simulator-secret")
	basic := func(r *http.Request) { r.SetBasicAuth("simulator", "simulator-secret") }
	for _, test := range []struct {
		name, query, contentType, body string
		change                         func(*http.Request)
		status                         int
		code                           string
	}{
		{"wrong secret", "", formType, form("simulator", "wrong"), nil, 401, "invalid_client"},
		{"wrong id", "", formType, form("wrong", "simulator-secret"), nil, 401, "invalid_client"},
		{"no secret", "", formType, "grant_type=client_credentials&client_id=simulator", nil, 401, "invalid_client"},
		{"valid Basic", "", formType, "grant_type=client_credentials", basic, 401, "invalid_client"},
		{"valid Basic and valid body", "", formType, valid, basic, 401, "invalid_client"},
		{"query", "?" + valid, formType, "grant_type=client_credentials", nil, 401, "invalid_client"},
		{"query and body", "?" + valid, formType, valid, nil, 401, "invalid_client"},
		{"JSON", "", "application/json", `{"grant_type":"client_credentials"}`, nil, 400, "invalid_request"},
		{"no content type", "", "", valid, nil, 400, "invalid_request"},
		{"no grant type", "", formType, "client_id=a&client_secret=b", nil, 400, "invalid_request"},
		{"repeated field", "", formType, valid + "&client_id=simulator", nil, 400, "invalid_request"},
		{"not a form", "", formType, "%zz", nil, 400, "invalid_request"},
		{"too large", "", formType, valid + "&x=" + strings.Repeat("x", 64<<10), nil, 400, "invalid_request"},
		{"other grant", "", formType, "grant_type=password", nil, 400, "unsupported_grant_type"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := serve(t, simulator.Config{})
			r := request(t, http.MethodPost, a.url+"/security/oauth/token"+test.query, test.contentType, test.body)
			if test.change != nil {
				test.change(r)
			}
			answer := mustDo(t, r)
			wantStatus(t, answer, test.status)
			if got := answer.fields(t)["error"]; got != test.code {
				t.Errorf("got error %v, want %s", got, test.code)
			}
			if got := a.Stats().TokenStatuses[test.status]; got != 1 {
				t.Errorf("got %d answers %d counted, want 1", got, test.status)
			}
		})
	}
}

func TestTokenExpiresAndIsRevoked(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a := serve(t, simulator.Config{Now: func() time.Time { return now }})
	call := func(token string, want int) {
		t.Helper()
		wantStatus(t, mustDo(t, a.roomRequest(t, token, roomBody("1"))), want)
	}
	call("", http.StatusUnauthorized)
	call("unknown", http.StatusUnauthorized)

	token := a.token(t)
	now = now.Add(time.Hour - 1)
	call(token, http.StatusOK)
	now = now.Add(1)
	call(token, http.StatusUnauthorized)

	token = a.token(t)
	call(token, http.StatusOK)
	a.RevokeTokens()
	call(token, http.StatusUnauthorized)

	token = a.token(t)
	a.SetCredentials("new", "new-secret")
	call(token, http.StatusUnauthorized)
	url := a.url + "/security/oauth/token"
	old := mustDo(t, request(t, http.MethodPost, url, formType, form("simulator", "simulator-secret")))
	wantStatus(t, old, http.StatusUnauthorized)
	wantStatus(t, mustDo(t, request(t, http.MethodPost, url, formType, form("new", "new-secret"))), http.StatusOK)
}

func TestTokensAreBounded(t *testing.T) {
	s, err := simulator.New(simulator.Config{TokenLifetime: -1})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() string {
		r := request(t, http.MethodPost, "/security/oauth/token", formType, form("simulator", "simulator-secret"))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return response{body: w.Body.String()}.fields(t)["access_token"].(string)
	}
	call := func(token string) int {
		r := request(t, http.MethodPost, "/security/facades/room", "application/json", roomBody("1"))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	oldest, second := ask(), ask()
	for range 10_000 - 1 {
		ask()
	}
	if got := call(oldest); got != http.StatusUnauthorized {
		t.Errorf("got %d for the oldest token, want 401", got)
	}
	if got := call(second); got != http.StatusOK {
		t.Errorf("got %d for the second token, want 200", got)
	}
}
