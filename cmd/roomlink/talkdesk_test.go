package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"roomlink/internal/app"
	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
)

// The paths that an administrator enters, word for word as auvious' page has them
// (auvious, "Actions", steps 2 and 3).
const (
	tokenPath  = "/security/oauth/token"
	actionPath = "/security/facades/room"
	eventsPath = "/talkdesk/events"
)

// caller calls the program as Talkdesk does: with whatever its Connection has.
type caller struct {
	base   string
	header http.Header
}

// response is an answer, read whole.
type response struct {
	status int
	header http.Header
	body   []byte
}

// post sends a body of a type to a path.
func (c caller) post(t *testing.T, path, contentType, body string) response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(request.Header, c.header)
	request.Header.Set("Content-Type", contentType)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatalf("posting to %s: %v", path, err)
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("posting to %s: %v", path, err)
	}
	return response{answer.StatusCode, answer.Header, read}
}

// fetchToken asks for an access token: with HTTP Basic if the caller has it, else
// with the credentials in the body.
func (c caller) fetchToken(t *testing.T, clientID, clientSecret string) response {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	if c.header.Get("Authorization") == "" {
		form.Set("client_id", clientID)
		form.Set("client_secret", clientSecret)
	}
	return c.post(t, tokenPath, "application/x-www-form-urlencoded", form.Encode())
}

// token is the access token of an answer, which is held to RFC 6749, section 5.1.
func (r response) token(t *testing.T) string {
	t.Helper()
	var grant struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal(r.body, &grant); err != nil {
		t.Fatalf("token: got %d %q and error %v, want JSON", r.status, r.body, err)
	}
	if r.status != http.StatusOK || grant.AccessToken == "" || grant.TokenType != "Bearer" || grant.ExpiresIn != 3600 {
		t.Fatalf("token: got %d, type %q, for %d s; want 200 and a Bearer token for an hour",
			r.status, grant.TokenType, grant.ExpiresIn)
	}
	if got := r.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("token: got Cache-Control %q, want no-store", got)
	}
	return grant.AccessToken
}

// bearer calls with an access token.
func bearer(base, token string) caller {
	return caller{base, http.Header{"Authorization": {"Bearer " + token}}}
}

func basic(base, user, password string) caller {
	request := &http.Request{Header: http.Header{}}
	request.SetBasicAuth(user, password)
	return caller{base, request.Header}
}

// pageInput is the page's own test input with an application id in it.
func pageInput(t *testing.T, applicationID string) string {
	t.Helper()
	text := readFile(t, filepath.Join("testdata", "room-request.json"))
	filled := strings.Replace(text, "<your-application-id>", applicationID, 1)
	if filled == text {
		t.Fatal("the test input has no place for the application id")
	}
	return filled
}

// outputSchema is the page's output schema.
func outputSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join("testdata", "room-response.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// urls are the three of an answer, held to the page's output schema.
func (r response) urls(t *testing.T, schema *jsonschema.Schema) map[string]string {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.body))
	if err != nil {
		t.Fatalf("room: got %d %q and error %v, want JSON", r.status, r.body, err)
	}
	if r.status != http.StatusOK {
		t.Fatalf("room: got %d %s, want 200", r.status, r.body)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("room: %v", err)
	}
	var urls map[string]string
	if err := json.Unmarshal(r.body, &urls); err != nil {
		t.Fatalf("room: %v", err)
	}
	if got, want := slices.Sorted(maps.Keys(urls)), []string{"agentUrl", "recordingUrl", "ticketUrl"}; !slices.Equal(got, want) {
		t.Errorf("room: got %q, want exactly %q", got, want)
	}
	for name, address := range urls {
		if name == "recordingUrl" && address == "" {
			continue // "the url holding the recording, if any"
		}
		if parsed, err := url.Parse(address); err != nil || parsed.Host == "" {
			t.Errorf("room: %s is no URL", name)
		}
	}
	return urls
}

// TestDropIn walks auvious' page "Actions" as Talkdesk does, with only the host
// changed: the token of step 2, the action of step 3, the test of step 4.
func TestDropIn(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{ApplicationID: "app-1"})
	p := start(t, programtest.ServeEnv(t, a.URL), "serve")
	host := p.Address("public")
	schema := outputSchema(t)
	input := pageInput(t, "app-1")

	inBody := caller{base: host}.fetchToken(t, "studio", programtest.TalkdeskSecret).token(t)
	byBasic := basic(host, "studio", programtest.TalkdeskSecret).fetchToken(t, "", "").token(t)
	first := bearer(host, inBody).post(t, actionPath, "application/json", input).urls(t, schema)
	calls := a.Stats().RoomCalls
	if calls != 1 {
		t.Errorf("calls of auvious: got %d, want 1", calls)
	}
	for name, token := range map[string]string{"the token from the body": inBody, "the token by Basic": byBasic} {
		again := bearer(host, token).post(t, actionPath, "application/json", input).urls(t, schema)
		if !maps.Equal(again, first) {
			t.Errorf("the same again with %s: got other URLs, want the same", name)
		}
	}
	if got := a.Stats().RoomCalls - calls; got != 0 {
		t.Errorf("the same again: got %d calls of auvious, want none", got)
	}
	wantPageRequest(t, a)

	for name, tc := range map[string]struct {
		caller caller
		path   string
		body   string
		status int
		code   string
	}{
		"a wrong secret":      {basic(host, "studio", "guess"), tokenPath, "grant_type=client_credentials", 401, "invalid_client"},
		"no token":            {caller{base: host}, actionPath, input, 401, "unauthorized"},
		"a made-up token":     {bearer(host, "made-up"), actionPath, input, 401, "unauthorized"},
		"another application": {bearer(host, inBody), actionPath, pageInput(t, "app-2"), 400, "wrong_application"},
		"an unfilled input":   {bearer(host, inBody), actionPath, readFile(t, "testdata/room-request.json"), 400, "wrong_application"},
	} {
		contentType := "application/json"
		if tc.path == tokenPath {
			contentType = "application/x-www-form-urlencoded"
		}
		tc.caller.post(t, tc.path, contentType, tc.body).wantError(t, name, tc.status, tc.code)
	}
}

// wantError compares an answer with a flat error.
func (r response) wantError(t *testing.T, name string, status int, code string) {
	t.Helper()
	var fields map[string]string
	if err := json.Unmarshal(r.body, &fields); err != nil {
		t.Errorf("%s: got %d %q and error %v, want a flat JSON object", name, r.status, r.body, err)
	}
	if r.status != status || fields["error"] != code || fields["error_description"] == "" || len(fields) != 2 {
		t.Errorf("%s: got %d %s, want %d %s", name, r.status, r.body, status, code)
	}
}

// wantPageRequest compares what reached auvious with the page's test input: all
// of it as it was, but for the scheme of the bare host.
func wantPageRequest(t *testing.T, a programtest.Auvious) {
	t.Helper()
	requests := a.Requests("abc123")
	if len(requests) != 1 {
		t.Fatalf("requests of auvious: got %d, want 1", len(requests))
	}
	var got map[string]any
	if err := json.Unmarshal(requests[0].Body, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"applicationId": "app-1", "cdestination": "standalone", "customerId": "abc123", "interactionId": "abc123",
		"ticketExpirationSeconds": 0.0, "organizationId": "talkdesk", "urlBase": "https://auvious.video",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("request of auvious:\ngot  %v\nwant %v", got, want)
	}
}

// end is an event that stores nothing: whoever may post it is answered 200.
const end = `{"event":"inbound_call_ends","interaction_id":"ended"}`

// wantToken asks a process whether it takes a token.
func wantToken(t *testing.T, name, base, token string, want bool) {
	t.Helper()
	got := bearer(base, token).post(t, eventsPath, "application/json", end)
	switch {
	case !want:
		got.wantError(t, name, http.StatusUnauthorized, "unauthorized")
	case got.status != http.StatusOK:
		t.Errorf("%s: got %d %s, want 200", name, got.status, got.body)
	}
}

// TestTokenOutlivesAProcess takes a token from one process to its next life, and
// to a replica beside it.
func TestTokenOutlivesAProcess(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	t.Run("a restart with its own key", func(t *testing.T) {
		env := programtest.ServeEnv(t, a.URL)
		delete(env, app.LinkKey)
		p := start(t, env, "serve")
		token := caller{base: p.Address("public")}.fetchToken(t, "studio", programtest.TalkdeskSecret).token(t)
		if code := p.Stop(); code != 0 {
			t.Errorf("exit code: got %d, want 0", code)
		}
		p = start(t, env, "serve")
		wantToken(t, "after a restart", p.Address("public"), token, true)
	})
	t.Run("a replica with the same key", func(t *testing.T) {
		first, second := start(t, programtest.ServeEnv(t, a.URL), "serve"), start(t, programtest.ServeEnv(t, a.URL), "serve")
		token := caller{base: first.Address("public")}.fetchToken(t, "studio", programtest.TalkdeskSecret).token(t)
		wantToken(t, "at another process", second.Address("public"), token, true)
	})
	t.Run("one with another key", func(t *testing.T) {
		env := programtest.ServeEnv(t, a.URL)
		env[app.LinkKey] = strings.Repeat("another-link-key", 2)
		first, second := start(t, programtest.ServeEnv(t, a.URL), "serve"), start(t, env, "serve")
		token := caller{base: first.Address("public")}.fetchToken(t, "studio", programtest.TalkdeskSecret).token(t)
		wantToken(t, "at a process with another key", second.Address("public"), token, false)
	})
}

// TestTokenDiesWithItsSecret changes the client's secret under a running program.
func TestTokenDiesWithItsSecret(t *testing.T) {
	t.Parallel()
	env, dir := programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL), t.TempDir()
	writeFiles(t, dir, map[string]string{"secret": programtest.TalkdeskSecret})
	delete(env, app.TalkdeskSecret)
	env[app.TalkdeskSecret+"_FILE"] = filepath.Join(dir, "secret")
	p := start(t, env, "serve")
	host := p.Address("public")
	old := caller{base: host}.fetchToken(t, "studio", programtest.TalkdeskSecret).token(t)
	wantToken(t, "the token", host, old, true)

	writeFiles(t, dir, map[string]string{"secret": "rotated-client-secret"})
	p.Line(map[string]string{"message": "accounts changed"})
	wantToken(t, "the token of the old secret", host, old, false)
	caller{base: host}.fetchToken(t, "studio", programtest.TalkdeskSecret).wantError(t, "the old secret", 401, "invalid_client")
	wantToken(t, "a token of the new secret", host, caller{base: host}.fetchToken(t, "studio", "rotated-client-secret").token(t), true)
}

// TestRotatedLinkKeys goes from one link key to the next in three steps. At each,
// processes of the step before and after take each other's tokens.
func TestRotatedLinkKeys(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{})
	const one, two = "link-key-one-0123456789abcdef0123", "link-key-two-0123456789abcdef0123"
	steps := []string{one, one + "\n" + two + "\n", two + "\n" + one + "\n", two + "\n"}
	var hosts, tokens []string
	for i, keys := range steps {
		env := programtest.ServeEnv(t, a.URL)
		path := filepath.Join(t.TempDir(), "link.key")
		if err := os.WriteFile(path, []byte(keys), 0o600); err != nil {
			t.Fatal(err)
		}
		delete(env, app.LinkKey)
		env[app.LinkKey+"_FILE"] = path
		hosts = append(hosts, start(t, env, "serve").Address("public"))
		tokens = append(tokens, caller{base: hosts[i]}.fetchToken(t, "studio", programtest.TalkdeskSecret).token(t))
	}
	for by := range steps {
		for at := range steps {
			name := fmt.Sprintf("a token of step %d at step %d", by, at)
			far := by <= 1 && at == 3 || by >= 2 && at == 0
			wantToken(t, name, hosts[at], tokens[by], !far)
		}
	}
}
