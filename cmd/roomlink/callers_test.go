package main

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
)

// postTo posts to a URL with the API key. It follows no redirect.
func postTo(t *testing.T, transport http.RoundTripper, url string, header http.Header, body string) roomlinktest.Reply {
	t.Helper()
	request, err := http.NewRequestWithContext(roomlinktest.Context(t), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", programtest.APIKey)
	maps.Copy(request.Header, header)
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("posting to %s: %v", url, err)
	}
	return roomlinktest.ReadReply(t, answer)
}

// calls are requests as Talkdesk and proxies really send them. path, body and audit have
// %s for an id.
var calls = []struct {
	name, path string
	header     http.Header
	body       string
	status     int
	// audit is the shape, the id and the outcome in the audit line.
	audit string
}{
	{"two slashes to events", "//talkdesk/events", nil, startBody, 202, "automation %s accepted"},
	{"a slash behind events", "/talkdesk/events/", nil, startBody, 202, "automation %s accepted"},
	{"slashes everywhere", "///talkdesk//events//", nil, startBody, 202, "automation %s accepted"},
	{"two slashes to the action", "//security/facades/room", nil, actionBody, 200, "action %s accepted"},
	{"a slash behind the action", "/security/facades/room/", nil, actionBody, 200, "action %s accepted"},
	{"two slashes to the token", "//security/oauth/token", form(), tokenBody, 200, "token  token_issued"},
	{"a slash behind the token", "/security/oauth/token/", form(), tokenBody, 200, "token  token_issued"},
	{"form twice", tokenPath, http.Header{"Content-Type": {formType + ", " + formType}}, tokenBody, 200, "token  token_issued"},
	{"text/json", eventsPath, http.Header{"Content-Type": {"text/json"}}, startBody, 202, "automation %s accepted"},
	{"any type", eventsPath, http.Header{"Content-Type": {"*/*"}}, startBody, 202, "automation %s accepted"},
	{"JSON twice", actionPath, http.Header{"Content-Type": {"application/json, application/json"}}, actionBody, 200, "action %s accepted"},
	{"text", eventsPath, http.Header{"Content-Type": {"text/plain"}}, startBody, 415, "  refused"},
	{"JSON joined with text", eventsPath, http.Header{"Content-Type": {"application/json, text/plain"}}, startBody, 415, "  refused"},
	{"compressed event", eventsPath, compressed(nil), zipped(startBody), 415, "  refused"},
	{"compressed action", actionPath, compressed(nil), zipped(actionBody), 415, "action  refused"},
	{"compressed token request", tokenPath, compressed(form()), zipped(tokenBody), 415, "token  token_refused"},
	{"32 KB of headers", eventsPath, longHeaders(32 << 10), startBody, 202, "automation %s accepted"},
}

const (
	formType   = "application/x-www-form-urlencoded"
	startBody  = `{"event":"inbound_call_starts","interaction_id":"%s"}`
	actionBody = `{"applicationId":"app-1","cdestination":"standalone","customerId":"c","interactionId":"%s"}`
	tokenBody  = "grant_type=client_credentials&client_id=studio&client_secret=" + programtest.TalkdeskSecret
)

func form() http.Header { return http.Header{"Content-Type": {formType}} }

func compressed(header http.Header) http.Header {
	header = maps.Clone(header)
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Encoding", "gzip")
	return header
}

func zipped(body string) string {
	var text bytes.Buffer
	writer := gzip.NewWriter(&text)
	_, _ = io.WriteString(writer, body) // a buffer takes everything
	_ = writer.Close()
	return text.String()
}

// longHeaders returns headers of 64 bytes with the given length together.
func longHeaders(length int) http.Header {
	header := http.Header{}
	for i := range length / 64 {
		name := fmt.Sprintf("X-Long-%d", i)
		header.Set(name, strings.Repeat("x", 64-len(name)-len(": \r\n")))
	}
	return header
}

// TestCallers sends each of [calls] over HTTP/1.1 and HTTP/2.
func TestCallers(t *testing.T) {
	t.Parallel()
	env := programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL)
	t.Run("HTTP/1.1", func(t *testing.T) {
		t.Parallel()
		checkCallers(t, start(t, env, "serve"), "http", &http.Transport{})
	})
	dir, protocols := t.TempDir(), new(http.Protocols)
	protocols.SetHTTP2(true)
	writeFiles(t, dir, selfSigned(t, "127.0.0.1", time.Now().Add(time.Hour)))
	secure := maps.Clone(env)
	secure["ROOMLINK_TLS_CERT"], secure["ROOMLINK_TLS_KEY"] = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	secure["ROOMLINK_DATA_DIR"] = t.TempDir()
	t.Run("HTTP/2", func(t *testing.T) {
		t.Parallel()
		checkCallers(t, start(t, secure, "serve"), "https", &http.Transport{
			Protocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		})
	})
}

func checkCallers(t *testing.T, p *programtest.Program, scheme string, transport http.RoundTripper) {
	t.Helper()
	base := strings.Replace(p.Address("public"), "http", scheme, 1)
	var want []string
	for i, call := range calls {
		id := fmt.Sprintf("call-%d", i)
		fill := func(text string) string { return strings.Replace(text, "%s", id, 1) }
		got := postTo(t, transport, base+call.path, call.header, fill(call.body))
		if got.Status != call.status {
			t.Errorf("%s: got %d, want %d", call.name, got.Status, call.status)
		}
		if strings.HasPrefix(call.name, "compressed") {
			got.WantError(t, http.StatusUnsupportedMediaType, "unsupported_encoding")
		}
		credential := "default roomlink_talkdesk_api_key "
		switch {
		case strings.Contains(call.audit, "token_issued"):
			credential = "default roomlink_talkdesk_client_secret "
		case strings.Contains(call.audit, "token"):
			credential = "  "
		}
		if strings.HasPrefix(call.audit, "action %s") { // the answer has the ticket
			want = append(want, credential+"action "+id+" ticket_given")
		}
		want = append(want, credential+fill(call.audit))
	}
	p.Line(map[string]string{
		"kind": "audit", "level": "warn", "shape": "action", "outcome": "refused",
		"error": "unsupported_encoding: a compressed body is not supported: send it without Content-Encoding",
	})
	p.Line(map[string]string{"kind": "audit", "interaction_id": fmt.Sprintf("call-%d", len(calls)-1)})
	wantAudit(t, p.Log(), want)
}

// TestWaitInSeconds asks with a bare number before the room exists.
func TestWaitInSeconds(t *testing.T) {
	t.Parallel()
	a := programtest.StartAuvious(t, simulator.Config{Latency: simulator.Constant(300 * time.Millisecond)})
	p := start(t, programtest.ServeEnv(t, a.URL), "serve")
	base := p.Address("public")
	programtest.Post(t, base, "slow-1")
	for _, path := range []string{"//links/slow-1/?wait=20", "/links/slow-1?wait=0.5"} {
		if got := programtest.Ask(t, http.MethodGet, base+path, ""); got.Status != http.StatusOK || got.Fields["status"] != "ready" {
			t.Errorf("%s: got %d with status %q, want 200 ready", path, got.Status, got.Fields["status"])
		}
	}
	p.Line(map[string]string{"message": "request answered", "method": "GET", "path": "//links/slow-1/"})
	got := programtest.Ask(t, http.MethodGet, base+"/links/slow-1?wait=4x", "")
	if got.Status != http.StatusBadRequest || got.Fields["error"] != "bad_wait" {
		t.Errorf("wait=4x: got %d %v, want 400 bad_wait", got.Status, got.Fields)
	}
}
