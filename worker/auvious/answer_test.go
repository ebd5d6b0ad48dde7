package auvious_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"roomlink/internal/accounts"
	"roomlink/internal/simulator"
	"roomlink/worker/auvious"
)

func TestCreateRoomGoodAnswers(t *testing.T) {
	t.Parallel()
	const (
		agent  = "https://auvious.video/agent/1"
		record = "https://auvious.video/recording/1"
		ticket = "https://auvious.video/t/hush"
	)
	whole := auvious.Room{AgentURL: agent, RecordingURL: record, TicketURL: ticket}
	for _, test := range []struct {
		name   string
		answer simulator.Answer
		want   auvious.Room
	}{
		{"200", simulator.Answer{Status: 200, Body: goodRoom}, whole},
		{"201", simulator.Answer{Status: 201, Body: goodRoom}, whole},
		{
			"no recording",
			simulator.Answer{Status: 200, Body: links(agent, "", ticket)},
			auvious.Room{AgentURL: agent, TicketURL: ticket},
		},
		{
			"more fields than are known",
			simulator.Answer{Status: 200, Body: strings.TrimSuffix(goodRoom, "}") + `,"roomId":7,"nested":{"a":[null]}}`},
			whole,
		},
		{
			"another content type",
			simulator.Answer{Status: 200, Body: goodRoom, Header: header("Content-Type", "text/plain")},
			whole,
		},
		{
			"http on loopback",
			simulator.Answer{Status: 200, Body: links("http://127.0.0.1:8081/agent/1", "", "http://localhost/t/hush")},
			auvious.Room{AgentURL: "http://127.0.0.1:8081/agent/1", TicketURL: "http://localhost/t/hush"},
		},
		{
			"http on IPv6 loopback",
			simulator.Answer{Status: 200, Body: links("http://[::1]:8081/agent/1", "", ticket)},
			auvious.Room{AgentURL: "http://[::1]:8081/agent/1", TicketURL: ticket},
		},
		{
			"http on an allowed host",
			simulator.Answer{Status: 200, Body: links("http://auvious.test/agent/1", "", "http://auvious.test:8080/t/hush")},
			auvious.Room{AgentURL: "http://auvious.test/agent/1", TicketURL: "http://auvious.test:8080/t/hush"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(test.answer)
			client := newClient(t, accounts.Rooms{URL: f.url, AllowHTTPHosts: []string{"auvious.test"}})
			if got := mustCreate(t, client, "call-1"); got != test.want {
				t.Errorf("room: got %#v, want %#v", got, test.want)
			}
		})
	}
}

// TestCreateRoomBadAnswers: auvious reports success without usable links. A retry would make another room.
func TestCreateRoomBadAnswers(t *testing.T) {
	t.Parallel()
	const good = "https://auvious.video/t/hush"
	missing := func(name string) string { return name + " is missing" }
	for _, test := range []struct {
		name, body string
		// detail is part of the error's detail.
		detail string
	}{
		{"empty body", "", "not the expected JSON object"},
		{"HTML", "<html><body>hush</body></html>", "not the expected JSON object"},
		{"cut JSON", goodRoom[:len(goodRoom)-1], "not the expected JSON object"},
		{"two values", goodRoom + goodRoom, "not the expected JSON object"},
		{"an array", "[" + goodRoom + "]", "not the expected JSON object"},
		{"a string", `"https://auvious.video/t/hush"`, "not the expected JSON object"},
		{"null", `null`, missing("agentUrl")},
		{"no field", `{}`, missing("agentUrl")},
		{"no agentUrl", `{"recordingUrl":"","ticketUrl":"` + good + `"}`, missing("agentUrl")},
		{"no recordingUrl", `{"agentUrl":"` + good + `","ticketUrl":"` + good + `"}`, missing("recordingUrl")},
		{"no ticketUrl", `{"agentUrl":"` + good + `","recordingUrl":""}`, missing("ticketUrl")},
		{"null ticketUrl", `{"agentUrl":"` + good + `","recordingUrl":"","ticketUrl":null}`, missing("ticketUrl")},
		{"null recordingUrl", `{"agentUrl":"` + good + `","recordingUrl":null,"ticketUrl":"` + good + `"}`, missing("recordingUrl")},
		{"a number", `{"agentUrl":"` + good + `","recordingUrl":"","ticketUrl":7}`, "not the expected JSON object"},
		{"an object", `{"agentUrl":"` + good + `","recordingUrl":"","ticketUrl":{"url":"` + good + `"}}`, "not the expected JSON object"},
		{"empty agentUrl", links("", "", good), "agentUrl is not an absolute URL"},
		{"empty ticketUrl", links(good, "", ""), "ticketUrl is not an absolute URL"},
		{"relative", links(good, "", "/t/hush"), "ticketUrl is not an absolute URL"},
		{"without a scheme", links(good, "", "//auvious.video/t/hush"), "ticketUrl is neither https nor http"},
		{"javascript", links("javascript:alert(1)", "", good), "agentUrl is not an absolute URL"},
		{"javascript with a host", links("javascript://auvious.video/%0aalert(1)", "", good), "agentUrl is neither https nor http"},
		{"data", links(good, "data:text/html,hush", good), "recordingUrl is not an absolute URL"},
		{"ftp", links(good, "", "ftp://auvious.video/t/hush"), "ticketUrl is neither https nor http"},
		{"no host", links(good, "", "https:///t/hush"), "ticketUrl is not an absolute URL"},
		{"only a port", links(good, "", "https://:443/t/hush"), "ticketUrl is not an absolute URL"},
		{"http elsewhere", links(good, "", "http://auvious.video/t/hush"), "ticketUrl is http"},
		{"http on a host that looks allowed", links(good, "", "http://auvious.test.example/t/hush"), "ticketUrl is http"},
		{"user", links(good, "", "https://hush@auvious.video/t/1"), "ticketUrl contains a user"},
		{"user and password", links(good, "", "https://u:hush@auvious.video/t/1"), "ticketUrl contains a user"},
		{"line feed", links(good, "", `https://auvious.video/t/hush\nSet-Cookie:a`), "ticketUrl contains an invalid character"},
		{"NUL", links(good, "", `https://auvious.video/t/\u0000hush`), "ticketUrl contains an invalid character"},
		{"blank", links(good, "", "https://auvious.video/t/ hush"), "ticketUrl contains an invalid character"},
		{"backslash", links(good, "", `https:\\\\auvious.video\\t\\hush`), "ticketUrl contains an invalid character"},
		{"DEL", links(good, "", "https://auvious.video/t/\x7fhush"), "ticketUrl contains an invalid character"},
		{"a URL of 5 KiB", links(good, "", good+strings.Repeat("a", 5<<10)), "ticketUrl is longer than 4096 bytes"},
		{"70 KiB", strings.TrimSuffix(goodRoom, "}") + `,"more":"` + strings.Repeat("a", 70<<10) + `"}`, "longer than 64 KiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(simulator.Answer{Status: 200, Body: test.body})
			client := newClient(t, accounts.Rooms{URL: f.url, AllowHTTPHosts: []string{"auvious.test"}})
			failed := mustFail(t, client, "call-1")
			wantKind(t, failed, auvious.ErrBadAnswer, 200)
			if !strings.Contains(failed.Detail, test.detail) {
				t.Errorf("detail: got %q, want %q in it", failed.Detail, test.detail)
			}
			f.wantCalls(t, 1, 1)
		})
	}
}

func TestCreateRoomByStatus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		want   auvious.Kind
		calls  int
	}{
		{202, auvious.ErrBadAnswer, 1},
		{204, auvious.ErrBadAnswer, 1},
		{206, auvious.ErrBadAnswer, 1},
		{301, auvious.ErrNotDone, 1},
		{302, auvious.ErrNotDone, 1},
		{304, auvious.ErrNotDone, 1},
		{307, auvious.ErrNotDone, 1},
		{308, auvious.ErrNotDone, 1},
		{400, auvious.ErrRejected, 1},
		{401, auvious.ErrAccount, 2}, // a second time with another token
		{403, auvious.ErrRejected, 1},
		{404, auvious.ErrRejected, 1},
		{405, auvious.ErrRejected, 1},
		{408, auvious.ErrNotDone, 1},
		{409, auvious.ErrRejected, 1},
		{413, auvious.ErrRejected, 1},
		{415, auvious.ErrRejected, 1},
		{422, auvious.ErrRejected, 1},
		{425, auvious.ErrNotDone, 1},
		{429, auvious.ErrNotDone, 1},
		{500, auvious.ErrNotDone, 1},
		{502, auvious.ErrNotDone, 1},
		{503, auvious.ErrNotDone, 1},
		{504, auvious.ErrNotDone, 1},
		{599, auvious.ErrNotDone, 1},
	} {
		t.Run(http.StatusText(test.status), func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(simulator.Answer{Status: test.status, Header: header("Location", f.url+"/elsewhere/hush")})
			failed := mustFail(t, f.client(t), "call-1")
			wantKind(t, failed, test.want, test.status)
			if failed.RetryAfter != 0 {
				t.Errorf("RetryAfter without the header: got %v, want 0", failed.RetryAfter)
			}
			f.wantCalls(t, test.calls, test.calls)
		})
	}
}

// TestCreateRoomErrorText: the detail quotes auvious and masks what may be a secret.
func TestCreateRoomErrorText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, body, want string }{
		{"plain", `{"error":"the application is not this client's"}`, "the application is not this client's"},
		{"with a description", `{"error":"invalid","error_description":"no such customer"}`, "invalid no such customer"},
		{"a ticket URL", `{"error":"https://auvious.video/t/hush is taken"}`, "[masked] is taken"},
		{"a token", `{"error":"the token Bearer hush is not known"}`, "the token [masked] is not known"},
		{"a secret by its look", `{"error":"not with hush-client-secret-5f3e9a1c"}`, "not with [masked]"},
		{"lines", `{"error":"one\ntwo\u0000"}`, "one two"},
		{"no error", `{"message":"hush"}`, "no reason given"},
		{"empty", ``, "no reason given"},
		{"HTML", `<h1>hush</h1>`, "no reason given"},
		{"a number", `{"error":7}`, "no reason given"},
		{"an array", `["hush"]`, "no reason given"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(simulator.Answer{Status: 422, Body: test.body})
			failed := mustFail(t, f.client(t), "call-1")
			wantKind(t, failed, auvious.ErrRejected, 422)
			if got := strings.TrimSpace(failed.Detail); got != test.want {
				t.Errorf("detail: got %q, want %q", got, test.want)
			}
		})
	}
}

func TestCreateRoomRetryAfter(t *testing.T) {
	t.Parallel()
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, test := range []struct {
		name, value string
		min, max    time.Duration
	}{
		{"seconds", "7", 7 * time.Second, 7 * time.Second},
		{"zero", "0", 0, 0},
		{"a future date", date(time.Hour), 59 * time.Minute, time.Hour},
		{"a past date", date(-time.Hour), 0, 0},
		{"garbage", "soon", 0, 0},
		{"negative", "-3", 0, 0},
		{"a fraction", "1.5", 0, 0},
		{"out of range", "99999999999999999999", 0, 0},
		{"empty", "", 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(simulator.Answer{Status: 429, Header: header("Retry-After", test.value)})
			failed := mustFail(t, f.client(t), "call-1")
			if got := failed.RetryAfter; got < test.min || got > test.max {
				t.Errorf("RetryAfter of %q: got %v, want from %v to %v", test.value, got, test.min, test.max)
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, simulator.Config{})
	for _, status := range []int{302, 303, 307, 308} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(simulator.Answer{Status: status, Header: header("Location", elsewhere.url+"/security/facades/room")})
			wantKind(t, mustFail(t, f.client(t), "call-1"), auvious.ErrNotDone, status)
		})
		t.Run("unreadable location "+http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(simulator.Answer{Status: status, Header: header("Location", "%hush")})
			wantKind(t, mustFail(t, f.client(t), "call-1"), auvious.ErrNotDone, status)
		})
		t.Run("token call "+http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.ScriptTokens(func(int) *simulator.Answer {
				return &simulator.Answer{Status: status, Header: header("Location", elsewhere.url+"/security/oauth/token")}
			})
			wantKind(t, mustFail(t, f.client(t), "call-1"), auvious.ErrAccount, status)
		})
	}
	t.Cleanup(func() { elsewhere.wantCalls(t, 0, 0) })
}

func TestCallError(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  *auvious.CallError
		want string
	}{
		{
			&auvious.CallError{Kind: auvious.ErrNotDone, Detail: "temporary failure", Status: 503},
			"auvious did not carry out the call: temporary failure (HTTP status 503)",
		},
		{
			&auvious.CallError{Kind: auvious.ErrUnknownOutcome, Detail: "the call was sent but not answered"},
			"the outcome of the call is unknown: the call was sent but not answered",
		},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("error: got %q, want %q", got, test.want)
		}
	}
}

// links returns an answer of the facade. The URLs are JSON text without quotes.
func links(agent, recording, ticket string) string {
	return `{"agentUrl":"` + agent + `","recordingUrl":"` + recording + `","ticketUrl":"` + ticket + `"}`
}

// TestKinds: every kind has a text.
func TestKinds(t *testing.T) {
	t.Parallel()
	kinds := auvious.Kinds()
	if first, last := kinds[0], kinds[len(kinds)-1]; first != auvious.ErrRejected || last != auvious.ErrUnknownOutcome {
		t.Errorf("kinds: got them from %v to %v, want them from %v to %v",
			first, last, auvious.ErrRejected, auvious.ErrUnknownOutcome)
	}
	for _, kind := range kinds {
		if kind.Error() == "" {
			t.Errorf("kind %d: got no text, want one", int(kind))
		}
	}
}

func wantKind(tb testing.TB, failed *auvious.CallError, kind auvious.Kind, status int) {
	tb.Helper()
	if failed.Kind != kind || failed.Status != status {
		tb.Errorf("error: got %v with status %d, want %v with status %d", failed, failed.Status, kind, status)
	}
}
