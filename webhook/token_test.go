package webhook_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"roomlink/internal/web"
)

// A client whose id and secret have special characters of forms and of HTTP Basic.
const (
	oddID     = "talk:desk +1%"
	oddSecret = "p&ss=wörd:%41+"
)

const formType = "application/x-www-form-urlencoded"

// form posts a form to the token endpoint, without an API key.
func (s *site) form(tb testing.TB, form string, edits ...edit) reply {
	tb.Helper()
	return s.post(tb, tokenPath, form, append([]edit{without("X-API-Key"), with("Content-Type", formType)}, edits...)...)
}

// grant is the answer of the token endpoint.
type grant struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"`
}

// wantGrant returns the token in an answer, and checks the answer against RFC 6749,
// section 5.1.
func (r reply) wantGrant(tb testing.TB) grant {
	tb.Helper()
	var got grant
	if err := json.Unmarshal([]byte(r.Body), &got); err != nil {
		tb.Fatalf("answer %d %q: got error %v, want JSON", r.Status, r.Body, err)
	}
	if r.Status != http.StatusOK || got.AccessToken == "" || got.TokenType != "Bearer" || got.ExpiresIn != 3600 {
		tb.Fatalf("got %d %s, want a bearer token for an hour", r.Status, r.Body)
	}
	r.wantTokenHeaders(tb)
	return got
}

func (r reply) wantTokenHeaders(tb testing.TB) {
	tb.Helper()
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache",
	} {
		if got := r.Header.Get(name); got != want {
			tb.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func (s *site) token(tb testing.TB, id, secret string) string {
	tb.Helper()
	return s.form(tb, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret},
	}.Encode()).wantGrant(tb).AccessToken
}

func TestTokenEndpoint(t *testing.T) {
	s := newSite(t, setup{})
	const inBody = "&client_id=connections&client_secret=acme-invented-client-secret"
	for _, test := range []struct {
		name, form string
		edits      []edit
	}{
		{"in the body", "grant_type=client_credentials" + inBody, nil},
		{"with a scope", "grant_type=client_credentials&scope=rooms" + inBody, nil},
		{"with a charset", "grant_type=client_credentials" + inBody, []edit{with("Content-Type", formType+"; charset=utf-8")}},
		{"in Basic", "grant_type=client_credentials", []edit{withBasic(clientID, clientSecret)}},
		{
			"in Basic, the id in the body too", "grant_type=client_credentials&client_id=connections",
			[]edit{withBasic(clientID, clientSecret)},
		},
		{
			"in Basic, an empty secret in the body", "grant_type=client_credentials&client_secret=",
			[]edit{withBasic(clientID, clientSecret)},
		},
		{"special characters in the body", "grant_type=client_credentials&client_id=" + url.QueryEscape(oddID) +
			"&client_secret=" + url.QueryEscape(oddSecret), nil},
		{
			"special characters in Basic, form-encoded", "grant_type=client_credentials",
			[]edit{withBasic(url.QueryEscape(oddID), url.QueryEscape(oddSecret))},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.form(t, test.form, test.edits...).wantGrant(t)
			id := "token " + test.name
			s.post(t, eventsPath, automation(id), withBearer(got.AccessToken)).wantStatus(t, http.StatusAccepted, "accepted")
			s.stored(t, account, id)
		})
	}
}

// description matches an error_description that RFC 6749, section 5.2, allows.
var description = regexp.MustCompile(`^[\x20\x21\x23-\x5B\x5D-\x7E]+$`)

func TestTokenEndpointRefuses(t *testing.T) {
	s := newSite(t, setup{})
	const good = "grant_type=client_credentials&client_id=connections&client_secret=acme-invented-client-secret"
	for _, test := range []struct {
		name, form string
		edits      []edit
		status     int
		code       string
	}{
		{"an empty body", "", nil, 400, "invalid_request"},
		{"no grant_type", "client_id=connections&client_secret=acme-invented-client-secret", nil, 400, "invalid_request"},
		{"an empty grant_type", "grant_type=&client_id=a&client_secret=b", nil, 400, "invalid_request"},
		{"another grant_type", strings.Replace(good, "client_credentials", "password", 1), nil, 400, "unsupported_grant_type"},
		{"grant_type in upper case", strings.Replace(good, "client_credentials", "CLIENT_CREDENTIALS", 1), nil, 400, "unsupported_grant_type"},
		{"grant_type twice", good + "&grant_type=client_credentials", nil, 400, "invalid_request"},
		{"client_id twice", good + "&client_id=connections", nil, 400, "invalid_request"},
		{"client_secret twice", good + "&client_secret=x", nil, 400, "invalid_request"},
		{"an unknown parameter twice", good + "&%22%5c%0a=1&%22%5c%0a=2", nil, 400, "invalid_request"},
		{"in Basic and in the body", good, []edit{withBasic(clientID, clientSecret)}, 400, "invalid_request"},
		{"Basic that is not form-encoded", "grant_type=client_credentials", []edit{withBasic("100%", "x")}, 400, "invalid_request"},
		{"a secret that is not form-encoded", "grant_type=client_credentials", []edit{withBasic(clientID, "%zz")}, 400, "invalid_request"},
		{"a percent-encoding fault", good + "&x=%zz", nil, 400, "invalid_request"},
		{"a semicolon", strings.ReplaceAll(good, "&", ";"), nil, 400, "invalid_request"},
		{"JSON", `{"grant_type":"client_credentials"}`, []edit{with("Content-Type", "application/json")}, 400, "invalid_request"},
		{"a form declared as JSON", good, []edit{with("Content-Type", "application/json")}, 400, "invalid_request"},
		{"no content type", good, []edit{without("Content-Type")}, 400, "invalid_request"},
		{"a multipart form", good, []edit{with("Content-Type", "multipart/form-data; boundary=x")}, 400, "invalid_request"},
		{"too large", good + "&x=" + strings.Repeat("x", web.MaxBody), nil, 413, "too_large"},
		{"no client", "grant_type=client_credentials", nil, 401, "invalid_client"},
		{"no secret", "grant_type=client_credentials&client_id=connections", nil, 401, "invalid_client"},
		{"an empty secret", "grant_type=client_credentials&client_id=connections&client_secret=", nil, 401, "invalid_client"},
		{"a wrong secret", "grant_type=client_credentials&client_id=connections&client_secret=guess", nil, 401, "invalid_client"},
		{"another client", "grant_type=client_credentials&client_id=nobody&client_secret=acme-invented-client-secret", nil, 401, "invalid_client"},
		{"a wrong secret in Basic", "grant_type=client_credentials", []edit{withBasic(clientID, "guess")}, 401, "invalid_client"},
		{"nothing in Basic", "grant_type=client_credentials", []edit{withBasic("", "")}, 401, "invalid_client"},
		{"Basic without base64", "grant_type=client_credentials", []edit{with("Authorization", "Basic !!!")}, 401, "invalid_client"},
		{"special characters in Basic, not encoded", "grant_type=client_credentials", []edit{withBasic("talkdesk", oddSecret)}, 401, "invalid_client"},
		{"the credentials of the events", "grant_type=client_credentials", []edit{withBasic(basicUser, basicSecret)}, 401, "invalid_client"},
		{"an API key", "grant_type=client_credentials", []edit{withKey(apiKey)}, 401, "invalid_client"},
		{"credentials in the query", "", []edit{func(r *http.Request) { r.URL.RawQuery = good }}, 400, "invalid_request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.form(t, test.form, test.edits...)
			got.WantError(t, test.status, test.code)
			got.wantTokenHeaders(t)
			challenge := got.Header.Get("WWW-Authenticate")
			if (test.status == http.StatusUnauthorized) != strings.HasPrefix(challenge, "Basic ") {
				t.Errorf("WWW-Authenticate: got %q with %d, want Basic with 401 alone", challenge, test.status)
			}
			if text := got.Flat(t)["error_description"]; !description.MatchString(text) {
				t.Errorf("error_description: got %q, want the characters of RFC 6749", text)
			}
			s.token(t, clientID, clientSecret)
		})
	}
	if log := s.log.String(); strings.Contains(log, "invented") || strings.Contains(log, "guess") {
		t.Errorf("log: got\n%s\nwant no secret", log)
	}
}

func TestTokenEndpointMethods(t *testing.T) {
	s := newSite(t, setup{})
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		got := s.send(t, s.request(t, method, tokenPath, nil))
		got.WantError(t, http.StatusMethodNotAllowed, "method_not_allowed")
		if allow := got.Header.Get("Allow"); allow != http.MethodPost {
			t.Errorf("%s: Allow: got %q, want POST", method, allow)
		}
	}
}

// A process with the same keys accepts the tokens of another process. A process with
// another client secret refuses them.
func TestNewSecretEndsTokens(t *testing.T) {
	first := newSite(t, setup{})
	token := first.token(t, clientID, clientSecret)
	again := newSite(t, setup{on: first})
	again.post(t, eventsPath, automation("a"), withBearer(token)).wantStatus(t, http.StatusAccepted, "accepted")
	rotated := newSite(t, setup{on: first, clientSecret: "rotated-invented-secret"})
	rotated.post(t, eventsPath, automation("b"), withBearer(token)).WantError(t, http.StatusUnauthorized, "unauthorized")
	token = rotated.token(t, clientID, "rotated-invented-secret")
	rotated.post(t, eventsPath, automation("b"), withBearer(token)).wantStatus(t, http.StatusAccepted, "accepted")
}
