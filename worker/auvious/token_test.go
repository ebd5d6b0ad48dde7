package auvious_test

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/worker/auvious"
)

func TestRefusedToken(t *testing.T) {
	t.Parallel()
	t.Run("once", func(t *testing.T) {
		t.Parallel()
		f := serve(t, simulator.Config{})
		client := f.client(t)
		mustCreate(t, client, "call-1")
		f.RevokeTokens()
		mustCreate(t, client, "call-2")
		f.wantCalls(t, 2, 3)
		if got := f.Rooms("call-2"); got != 1 {
			t.Errorf("rooms of the repeated call: got %d, want 1", got)
		}
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		f := serve(t, simulator.Config{})
		f.answer(simulator.Answer{Status: 401, Body: `{"error":"hush"}`})
		client := f.client(t)
		wantKind(t, mustFail(t, client, "call-1"), auvious.ErrAccount, 401)
		f.wantCalls(t, 2, 2)
		if got := client.TokenAge(); got != 0 {
			t.Errorf("age after the refusal: got %v, want 0", got)
		}
	})
	t.Run("and no new one issued", func(t *testing.T) {
		t.Parallel()
		f := serve(t, simulator.Config{})
		client := f.client(t)
		mustCreate(t, client, "call-1")
		f.SetCredentials(clientID, "another hush")
		failed := mustFail(t, client, "call-2")
		wantKind(t, failed, auvious.ErrAccount, 401)
		wantDetail(t, failed, "invalid_client")
		f.wantCalls(t, 2, 2)
	})
}

// TestRefusalOfAnOldToken: a late refusal of the old token does not drop the new one.
func TestRefusalOfAnOldToken(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	asked, answer := make(chan struct{}), make(chan struct{})
	f.Script(func(call simulator.Call) *simulator.Answer {
		switch {
		case call.Number > 1:
			return nil
		case call.InteractionID == "late":
			close(asked)
			return &simulator.Answer{Wait: answer, Status: 401}
		case call.InteractionID == "early":
			return &simulator.Answer{Status: 401}
		}
		return nil
	})
	client := f.client(t)
	ended := make(chan error, 1)
	go func() {
		_, err := client.CreateRoom(t.Context(), roomRequest("late"))
		ended <- err
	}()
	roomlinktest.Receive(t, asked, "the late call")
	mustCreate(t, client, "early") // fetches the second token
	close(answer)
	if err := roomlinktest.Receive(t, ended, "the end of the late call"); err != nil {
		t.Errorf("the late call: got error %v, want none", err)
	}
	mustCreate(t, client, "next")
	f.wantCalls(t, 2, 5)
}

// TestOneFetch: concurrent callers share one fetch.
func TestOneFetch(t *testing.T) {
	t.Parallel()
	for name, lifetime := range map[string]time.Duration{"an hour": time.Hour, "no end": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{TokenLifetime: lifetime})
			asked, answer := make(chan struct{}), make(chan struct{})
			f.ScriptTokens(func(number int) *simulator.Answer {
				if number == 1 {
					close(asked)
				}
				return &simulator.Answer{Wait: answer}
			})
			client := f.client(t)
			var calls sync.WaitGroup
			for range 100 {
				calls.Go(func() {
					if _, err := client.CreateRoom(t.Context(), roomRequest("call-1")); err != nil {
						t.Errorf("creating a room: %v", err)
					}
				})
			}
			roomlinktest.Receive(t, asked, "the token call")
			close(answer)
			calls.Wait()
			f.wantCalls(t, 1, 100)
		})
	}
}

// TestFailingTokenEndpoint: shortly after a failed fetch, callers get its error without another fetch.
func TestFailingTokenEndpoint(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{Faults: simulator.Faults{TokenStatus: 503, RetryAfter: "7"}})
	client := f.client(t)
	began := time.Now()
	const callers = 100
	ended := make(chan error, callers)
	for range callers {
		go func() {
			_, err := client.CreateRoom(t.Context(), roomRequest("call-1"))
			ended <- err
		}()
	}
	for range callers {
		failed := callError(t, roomlinktest.Receive(t, ended, "the end of a call"))
		wantKind(t, failed, auvious.ErrAccount, 503)
		// A caller that comes later gets the rest of the delay.
		if failed.RetryAfter > 7*time.Second || failed.RetryAfter < 7*time.Second-time.Since(began) {
			t.Errorf("RetryAfter: got %v, want 7s less the time since the fetch", failed.RetryAfter)
		}
	}
	// One fetch, and one more for each second of a slow machine.
	if got, limit := f.Stats().TokenCalls, 1+int(time.Since(began)/time.Second); got > limit {
		t.Errorf("token calls: got %d, want at most %d", got, limit)
	}
	if got := f.Stats().RoomCalls; got != 0 {
		t.Errorf("room calls without a token: got %d, want 0", got)
	}
}

// TestTokenErrors: every failure of the token endpoint is of the kind ErrAccount. The error says what came and quotes
// only codes of RFC 6749.
func TestTokenErrors(t *testing.T) {
	t.Parallel()
	json := func(status int, body string) simulator.Answer { return simulator.Answer{Status: status, Body: body} }
	html := header("Content-Type", "text/html; charset=utf-8")
	for _, test := range []struct {
		name   string
		answer simulator.Answer
		cause  string
		// detail is what follows the endpoint and the status.
		detail string
	}{
		{"invalid client", json(401, `{"error":"invalid_client","error_description":"hush"}`), "invalid_client", "application/json, invalid_client"},
		{"invalid request", json(400, `{"error":"invalid_request"}`), "invalid_request", "application/json, invalid_request"},
		{"unknown code", json(400, `{"error":"hush"}`), "rejected", "application/json, JSON with an error"},
		{"a code that is a cause", json(400, `{"error":"timeout"}`), "rejected", "application/json, JSON with an error"},
		{"error with 200", json(200, `{"error":"invalid_client"}`), "invalid_client", "application/json, invalid_client"},
		{"error beside a token", json(200, `{"error":"hush","access_token":"hush"}`), "rejected", "application/json, JSON with an error"},
		{"500", json(500, `hush`), "unavailable", "application/json, not JSON"},
		{"502", json(502, ``), "bad_gateway", "application/json, empty"},
		{"504", json(504, ``), "gateway_timeout", "application/json, empty"},
		{"429", json(429, ``), "too_many_requests", "application/json, empty"},
		{"302", json(302, ``), "redirect", "application/json, a redirect: check the URL of auvious"},
		{"404 page", simulator.Answer{Status: 404, Body: "hush", Header: html}, "not_auvious", "text/html, not JSON"},
		{"page", simulator.Answer{Status: 200, Body: "hush", Header: html}, "not_json", "text/html, not JSON"},
		{"form", simulator.Answer{Status: 200, Body: "access_token=hush", Header: header("Content-Type", "text/plain")}, "not_json", "text/plain, not JSON"},
		{"not JSON", json(200, `<p>hush</p>`), "not_json", "application/json, not JSON"},
		{"a string", json(200, `"hush"`), "not_object", "application/json, no JSON object"},
		{"empty", json(200, ``), "empty", "application/json, empty"},
		{"cut off", simulator.Answer{Status: 200, Body: `{"access_token":"hu`, Header: header("Content-Length", "99")}, "cut_off", "application/json, cut off"},
		{"no token", json(200, `{"token_type":"bearer"}`), "no_token", "application/json, without an access_token"},
		{"null token", json(200, `{"access_token":null}`), "no_token", "application/json, without an access_token"},
		{"blank token", json(200, `{"access_token":" \n"}`), "no_token", "application/json, without an access_token"},
		{"number", json(200, `{"access_token":7}`), "no_token", "application/json, without an access_token"},
		{"line break", json(200, `{"access_token":"hush\nhush"}`), "bad_token", "application/json, an access_token with a character that is not allowed"},
		{"NUL", json(200, `{"access_token":"hush\u0000"}`), "bad_token", "application/json, an access_token with a character that is not allowed"},
		{"blank inside", json(200, `{"access_token":"hush hush"}`), "bad_token", "application/json, an access_token with a character that is not allowed"},
		{"not ASCII", json(200, `{"access_token":"hüsh"}`), "bad_token", "application/json, an access_token with a character that is not allowed"},
		{"MAC", json(200, `{"access_token":"hush","token_type":"mac"}`), "bad_token_type", "application/json, a token_type other than bearer"},
		{"no type", json(200, `{"access_token":"hush","token_type":7}`), "bad_token_type", "application/json, a token_type other than bearer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			f.ScriptTokens(func(int) *simulator.Answer { return &test.answer })
			failed := mustFail(t, f.client(t), "call-1")
			wantKind(t, failed, auvious.ErrAccount, test.answer.Status)
			wantCause(t, failed, auvious.TokenEndpoint, test.cause)
			if want := fmt.Sprintf("token endpoint: %d %s", test.answer.Status, test.detail); failed.Detail != want {
				t.Errorf("detail: got %q, want %q", failed.Detail, want)
			}
			f.wantCalls(t, 1, 0)
		})
	}
}

// TestTokenEndpointAnswersNothing: the cause says what happened to the connection.
func TestTokenEndpointAnswersNothing(t *testing.T) {
	t.Parallel()
	for _, how := range []simulator.Close{simulator.CloseAfterReading, simulator.CloseBeforeReading} {
		f := serve(t, simulator.Config{})
		f.ScriptTokens(func(int) *simulator.Answer { return &simulator.Answer{Close: how} })
		failed := mustFail(t, f.client(t), "call-1")
		wantKind(t, failed, auvious.ErrAccount, 0)
		wantCause(t, failed, auvious.TokenEndpoint, "connection_lost")
		wantDetail(t, failed, "token endpoint: no answer: connection lost")
		f.wantCalls(t, 1, 0)
	}
}

// TestGoodTokens: harmless oddities change nothing.
func TestGoodTokens(t *testing.T) {
	t.Parallel()
	const good = `{"access_token":"hush-token","token_type":"bearer","expires_in":3600}`
	plain := func(body string) simulator.Answer { return simulator.Answer{Body: body} }
	for name, answer := range map[string]simulator.Answer{
		"plain":                  plain(good),
		"201":                    {Status: 201, Body: good},
		"byte order mark":        plain("\ufeff" + good),
		"text/plain":             {Body: good, Header: header("Content-Type", "text/plain")},
		"form by content type":   {Body: good, Header: header("Content-Type", "application/x-www-form-urlencoded")},
		"no content type":        {Body: good, Header: http.Header{"Content-Type": nil}},
		"gzip by its header":     {Body: good, Header: header("Content-Encoding", "gzip")},
		"gzip":                   {Body: gzipped(t, good), Header: header("Content-Encoding", "gzip")},
		"line break behind":      plain(`{"access_token":"hush-token\r\n"}`),
		"white space around":     plain(`{"access_token":" hush-token\t"}`),
		"no type":                plain(`{"access_token":"hush-token"}`),
		"null type":              plain(`{"access_token":"hush-token","token_type":null}`),
		"empty type":             plain(`{"access_token":"hush-token","token_type":""}`),
		"type in capitals":       plain(`{"access_token":"hush-token","token_type":"BEARER"}`),
		"names in capitals":      plain(`{"ACCESS_TOKEN":"hush-token"}`),
		"more fields":            plain(`{"access_token":"hush-token","scope":null,"nested":{"a":[1e999]}}`),
		"empty error":            plain(`{"access_token":"hush-token","error":null,"error_description":""}`),
		"lifetime of text":       plain(`{"access_token":"hush-token","expires_in":"3600"}`),
		"lifetime of words":      plain(`{"access_token":"hush-token","expires_in":"one hour"}`),
		"lifetime out of range":  plain(`{"access_token":"hush-token","expires_in":1e999}`),
		"lifetime of an object":  plain(`{"access_token":"hush-token","expires_in":{}}`),
		"negative lifetime":      plain(`{"access_token":"hush-token","expires_in":-1}`),
		"lifetime of a fraction": plain(`{"access_token":"hush-token","expires_in":0.5}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			answer.Status = cmp.Or(answer.Status, 200)
			f.ScriptTokens(func(int) *simulator.Answer { return &answer })
			sent := make(chan string, 1)
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if token := r.Header.Get("Authorization"); token != "" {
					sent <- token
					_, _ = io.WriteString(w, goodRoom)
					return
				}
				f.ServeHTTP(w, r)
			}))
			t.Cleanup(proxy.Close)
			mustCreate(t, newClient(t, accounts.Rooms{URL: proxy.URL}), "call-1")
			if got := <-sent; got != "Bearer hush-token" {
				t.Errorf("authorization: got another one of %d bytes, want the token behind Bearer", len(got))
			}
		})
	}
}

// TestTokenAge: the age is 0 without a token and grows with a token.
func TestTokenAge(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	client := f.client(t)
	if got := client.TokenAge(); got != 0 {
		t.Errorf("age before the first call: got %v, want 0", got)
	}
	began := time.Now()
	mustCreate(t, client, "call-1")
	if got, limit := client.TokenAge(), time.Since(began); got <= 0 || got > limit {
		t.Errorf("age after the first call: got %v, want more than 0 and at most %v", got, limit)
	}
}

// failure is a failure that a client reported.
type failure struct {
	endpoint auvious.Endpoint
	cause    string
	told     bool
}

// observe returns the failures that a client reports.
func observe(client *auvious.Client) (failures func() []failure) {
	var mu sync.Mutex
	var got []failure
	client.OnFailure(func(failed *auvious.CallError, told bool) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, failure{failed.Endpoint, string(failed.Cause), told})
	})
	return func() []failure {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

// TestOnFailure: the client reports each failed call of an endpoint once, and says whether a caller got the error.
func TestOnFailure(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	client := f.client(t)
	failures := observe(client)
	mustCreate(t, client, "call-1")
	f.RevokeTokens()
	mustCreate(t, client, "call-2") // with another token
	f.answer(simulator.Answer{Status: 404, Body: "default backend - 404"})
	mustFail(t, client, "call-3")
	f.answer(simulator.Answer{Status: 403, Body: `{"error":"invalid_token"}`})
	mustFail(t, client, "call-4") // twice
	other := f.client(t)
	failuresOfOther := observe(other)
	f.SetCredentials(clientID, "another hush")
	mustFail(t, other, "call-5")
	mustFail(t, other, "call-6") // gets the same failure

	want := []failure{
		{auvious.RoomEndpoint, "invalid_token", false},
		{auvious.RoomEndpoint, "not_auvious", true},
		{auvious.RoomEndpoint, "invalid_token", false},
		{auvious.RoomEndpoint, "invalid_token", true},
	}
	if got := failures(); !slices.Equal(got, want) {
		t.Errorf("failures: got %v, want %v", got, want)
	}
	want = []failure{{auvious.TokenEndpoint, "invalid_client", true}}
	if got := failuresOfOther(); !slices.Equal(got, want) {
		t.Errorf("failures: got %v, want %v", got, want)
	}
}

// TestCloseWaits: Close ends a running fetch. A second Close changes nothing.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	asked, answer := make(chan struct{}), make(chan struct{})
	defer close(answer)
	f.ScriptTokens(func(int) *simulator.Answer {
		close(asked)
		return &simulator.Answer{Wait: answer}
	})
	client := f.client(t)
	ended := make(chan error, 1)
	go func() {
		_, err := client.CreateRoom(t.Context(), roomRequest("call-1"))
		ended <- err
	}()
	roomlinktest.Receive(t, asked, "the token call")
	client.Close()
	client.Close()
	failed := callError(t, roomlinktest.Receive(t, ended, "the end of the call"))
	wantKind(t, failed, auvious.ErrAccount, 0)
	if strings.Contains(failed.Detail, f.url) {
		t.Errorf("detail: got the address in %q, want none", failed.Detail)
	}
}
