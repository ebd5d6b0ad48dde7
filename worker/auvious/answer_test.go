package auvious_test

import (
	"compress/gzip"
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
			"null recording",
			simulator.Answer{Status: 200, Body: `{"agentUrl":"` + agent + `","recordingUrl":null,"ticketUrl":"` + ticket + `"}`},
			auvious.Room{AgentURL: agent, TicketURL: ticket},
		},
		{
			"absent recording",
			simulator.Answer{Status: 200, Body: `{"agentUrl":"` + agent + `","ticketUrl":"` + ticket + `"}`},
			auvious.Room{AgentURL: agent, TicketURL: ticket},
		},
		{
			"text/plain",
			simulator.Answer{Status: 200, Body: goodRoom, Header: header("Content-Type", "text/plain")},
			whole,
		},
		{
			"HTML by its content type",
			simulator.Answer{Status: 200, Body: goodRoom, Header: header("Content-Type", "text/html; charset=utf-8")},
			whole,
		},
		{
			"no content type",
			simulator.Answer{Status: 200, Body: goodRoom, Header: http.Header{"Content-Type": nil}},
			whole,
		},
		{"byte order mark", simulator.Answer{Status: 200, Body: "\ufeff" + goodRoom}, whole},
		{"white space", simulator.Answer{Status: 200, Body: "\r\n " + goodRoom + "\n"}, whole},
		{
			"gzip by its header only",
			simulator.Answer{Status: 200, Body: goodRoom, Header: header("Content-Encoding", "gzip")},
			whole,
		},
		{
			"gzip",
			simulator.Answer{Status: 200, Body: gzipped(t, goodRoom), Header: header("Content-Encoding", "gzip")},
			whole,
		},
		{"gzip without its header", simulator.Answer{Status: 200, Body: gzipped(t, "\ufeff"+goodRoom)}, whole},
		{
			"a whole object, although the length promises more",
			simulator.Answer{Status: 200, Body: goodRoom, Header: header("Content-Length", "300")},
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

// gzipped returns compressed text.
func gzipped(tb testing.TB, text string) string {
	tb.Helper()
	var compressed strings.Builder
	w := gzip.NewWriter(&compressed)
	if _, err := w.Write([]byte(text)); err != nil {
		tb.Fatalf("compressing: %v", err)
	}
	if err := w.Close(); err != nil {
		tb.Fatalf("compressing: %v", err)
	}
	return compressed.String()
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
		{"empty body", "", "empty"},
		{"HTML", "<html><body>hush</body></html>", "not JSON"},
		{"cut JSON", goodRoom[:len(goodRoom)-1], "not JSON"},
		{"two values", goodRoom + goodRoom, "not JSON"},
		{"an array", "[" + goodRoom + "]", "no JSON object"},
		{"a string", `"https://auvious.video/t/hush"`, "no JSON object"},
		{"null", `null`, "no JSON object"},
		{"no field", `{}`, missing("agentUrl")},
		{"no agentUrl", `{"recordingUrl":"","ticketUrl":"` + good + `"}`, missing("agentUrl")},
		{"no ticketUrl", `{"agentUrl":"` + good + `","recordingUrl":""}`, missing("ticketUrl")},
		{"null ticketUrl", `{"agentUrl":"` + good + `","recordingUrl":"","ticketUrl":null}`, missing("ticketUrl")},
		{"a number", `{"agentUrl":"` + good + `","recordingUrl":"","ticketUrl":7}`, "ticketUrl is not a text"},
		{"an object", `{"agentUrl":"` + good + `","recordingUrl":"","ticketUrl":{"url":"` + good + `"}}`, "ticketUrl is not a text"},
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
		{"false recordingUrl", `{"agentUrl":"` + good + `","recordingUrl":false,"ticketUrl":"` + good + `"}`, "recordingUrl is not a text"},
		{"70 KiB", strings.TrimSuffix(goodRoom, "}") + `,"more":"` + strings.Repeat("a", 70<<10) + `"}`, "longer than 64 KiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(simulator.Answer{Status: 200, Body: test.body})
			client := newClient(t, accounts.Rooms{URL: f.url, AllowHTTPHosts: []string{"auvious.test"}})
			failed := mustFail(t, client, "call-1")
			wantKind(t, failed, auvious.ErrBadAnswer, 200)
			if want := "room endpoint: 200 application/json, " + test.detail; !strings.HasPrefix(failed.Detail, want) {
				t.Errorf("detail: got %q, want it to begin with %q", failed.Detail, want)
			}
			f.wantCalls(t, 1, 1)
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
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(simulator.Answer{Status: 422, Body: test.body})
			failed := mustFail(t, f.client(t), "call-1")
			wantKind(t, failed, auvious.ErrRejected, 422)
			if want := "room endpoint: 422 application/json, error: " + test.want; strings.TrimSpace(failed.Detail) != want {
				t.Errorf("detail: got %q, want %q", failed.Detail, want)
			}
		})
	}
}

// TestCreateRoomRetryAfter: a date counts by the clock of the server, which is far behind here.
func TestCreateRoomRetryAfter(t *testing.T) {
	t.Parallel()
	const second = time.Second
	server := time.Date(2020, time.March, 1, 12, 0, 0, 0, time.UTC)
	soon := server.Add(30 * second)
	for _, test := range []struct {
		name   string
		values []string
		want   time.Duration
	}{
		{"absent", nil, 0},
		{"empty", []string{""}, 0},
		{"seconds", []string{"7"}, 7 * second},
		{"zero", []string{"0"}, 0},
		{"negative", []string{"-3"}, 0},
		{"a fraction", []string{"1.5"}, 2 * second},
		{"a small fraction", []string{"0.001"}, second},
		{"a whole fraction", []string{"3.0"}, 3 * second},
		{"an exponent", []string{"3e1"}, 30 * second},
		{"white space", []string{"\t7 "}, 7 * second},
		{"more than the maximum", []string{"3600"}, time.Minute},
		{"huge", []string{"99999999999"}, time.Minute},
		{"out of range", []string{"1" + strings.Repeat("0", 400)}, time.Minute},
		{"garbage", []string{"soon"}, 0},
		{"not a number", []string{"NaN"}, 0},
		{"two values", []string{"3", "7"}, 7 * second},
		{"two values in one line", []string{"7, 3"}, 7 * second},
		{"a date", []string{soon.Format(http.TimeFormat)}, 30 * second},
		{"a date and seconds", []string{soon.Format(http.TimeFormat), "31"}, 31 * second},
		{"a distant date", []string{server.Add(time.Hour).Format(http.TimeFormat)}, time.Minute},
		{"a past date", []string{server.Add(-time.Hour).Format(http.TimeFormat)}, 0},
		{"a date in UTC", []string{soon.Format(time.RFC1123)}, 30 * second},
		{"a date with an offset", []string{soon.In(time.FixedZone("", 3600)).Format(time.RFC1123Z)}, 30 * second},
		{"a date of RFC 850", []string{soon.Format("Monday, 02-Jan-06 15:04:05 GMT")}, 30 * second},
		{"a date of RFC 3339", []string{soon.Format(time.RFC3339)}, 30 * second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.answer(simulator.Answer{Status: 429, Header: http.Header{
				"Date": {server.Format(http.TimeFormat)}, "Retry-After": test.values,
			}})
			if got := mustFail(t, f.client(t), "call-1").RetryAfter; got != test.want {
				t.Errorf("RetryAfter of %q: got %v, want %v", test.values, got, test.want)
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
			&auvious.CallError{Kind: auvious.ErrNotDone, Detail: "room endpoint: 503 text/html, not JSON", Status: 503},
			"auvious did not carry out the call: room endpoint: 503 text/html, not JSON",
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

// wantCause compares where and why a call failed.
func wantCause(tb testing.TB, failed *auvious.CallError, endpoint auvious.Endpoint, cause string) {
	tb.Helper()
	if failed.Endpoint != endpoint || string(failed.Cause) != cause {
		tb.Errorf("cause: got %s of the %s endpoint, want %s of the %s endpoint", failed.Cause, failed.Endpoint, cause, endpoint)
	}
}
