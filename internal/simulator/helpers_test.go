package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"roomlink/internal/simulator"
)

// auvious is a running simulator.
type auvious struct {
	*simulator.Simulator
	url string
}

// serve runs a simulator on a free port.
func serve(t *testing.T, config simulator.Config) auvious {
	t.Helper()
	s, err := simulator.New(config)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return auvious{s, server.URL}
}

// response is an answer with its body.
type response struct {
	status int
	header http.Header
	body   string
}

// do sends a request on a new connection and reads the answer.
func do(r *http.Request) (response, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return response{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return response{answer.StatusCode, answer.Header, string(body)}, err
}

// mustDo sends a request that must be answered.
func mustDo(t *testing.T, r *http.Request) response {
	t.Helper()
	answer, err := do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return answer
}

// request returns a request with a content type.
func request(t *testing.T, method, url, contentType, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

const formType = "application/x-www-form-urlencoded"

// form returns the body of a token call.
func form(id, secret string) string {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}.Encode()
}

// token gets a token with the default credentials.
func (a auvious) token(t *testing.T) string {
	t.Helper()
	answer := mustDo(t, request(t, http.MethodPost, a.url+"/security/oauth/token", formType,
		form(simulator.DefaultClientID, simulator.DefaultClientSecret)))
	return answer.fields(t)["access_token"].(string)
}

// fields decodes a body with a JSON object.
func (r response) fields(t *testing.T) map[string]any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(r.body), &fields); err != nil {
		t.Fatalf("body %q: %v", r.body, err)
	}
	return fields
}

// roomBody returns a valid room request for an interaction.
func roomBody(interactionID string) string {
	return `{"applicationId":"app","cdestination":"standalone","customerId":"customer","interactionId":"` +
		interactionID + `","urlBase":"https://auvious.video"}`
}

// roomRequest returns a room call with a token.
func (a auvious) roomRequest(t *testing.T, token, body string) *http.Request {
	t.Helper()
	r := request(t, http.MethodPost, a.url+"/security/facades/room", "application/json", body)
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// wantStatus fails the test unless the answer has the status.
func wantStatus(t *testing.T, answer response, want int) {
	t.Helper()
	if answer.status != want {
		t.Fatalf("got status %d with %s, want %d", answer.status, answer.body, want)
	}
}
