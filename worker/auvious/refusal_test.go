package auvious_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"roomlink/internal/simulator"
	"roomlink/worker/auvious"
)

// TestCreateRoomByStatus: every status, said by auvious itself and by a page of somebody in between.
func TestCreateRoomByStatus(t *testing.T) {
	t.Parallel()
	const said, page = `{"error":"no"}`, "<html><body>no</body></html>"
	refusals := []int{400, 402, 403, 404, 405, 406, 409, 410, 413, 415, 418, 422, 431, 451, 499}
	for _, test := range []struct {
		bodies   []string
		statuses []int
		kind     auvious.Kind
		cause    string
	}{
		{[]string{said, page}, []int{202, 204, 206}, auvious.ErrBadAnswer, "unexpected_status"},
		{[]string{said, page}, []int{300, 301, 302, 303, 304, 305, 307, 308}, auvious.ErrNotDone, "redirect"},
		{[]string{said}, refusals, auvious.ErrRejected, "rejected"},
		{[]string{page}, refusals, auvious.ErrNotDone, "not_auvious"},
		{[]string{said, page}, []int{401}, auvious.ErrAccount, "invalid_token"},
		{[]string{said, page}, []int{407, 421}, auvious.ErrNotDone, "not_auvious"},
		{[]string{said, page}, []int{408, 425}, auvious.ErrNotDone, "unavailable"},
		{[]string{said, page}, []int{500, 501, 503, 507, 521, 522, 523, 525, 526, 599}, auvious.ErrNotDone, "unavailable"},
		{[]string{said, page}, []int{429}, auvious.ErrNotDone, "too_many_requests"},
		{[]string{said, page}, []int{502}, auvious.ErrBadGateway, "bad_gateway"},
		{[]string{said, page}, []int{504, 520, 524}, auvious.ErrUnknownOutcome, "gateway_timeout"},
	} {
		for _, body := range test.bodies {
			for _, status := range test.statuses {
				t.Run(fmt.Sprintf("%d %s", status, body), func(t *testing.T) {
					t.Parallel()
					f := serve(t, simulator.Config{})
					f.answer(simulator.Answer{Status: status, Body: body, Header: header("Location", f.url+"/elsewhere/hush")})
					failed := mustFail(t, f.client(t), "call-1")
					wantKind(t, failed, test.kind, status)
					wantCause(t, failed, auvious.RoomEndpoint, test.cause)
					if failed.RetryAfter != 0 {
						t.Errorf("RetryAfter without the header: got %v, want 0", failed.RetryAfter)
					}
					calls := 1
					if status == 401 {
						calls = 2 // a second time with another token
					}
					f.wantCalls(t, calls, calls)
				})
			}
		}
	}
}

// TestWhoRefused: a refusal is auvious' own only if it is a JSON object with a text "error".
func TestWhoRefused(t *testing.T) {
	t.Parallel()
	html := header("Content-Type", "text/html; charset=UTF-8")
	for _, test := range []struct {
		name   string
		answer simulator.Answer
		want   auvious.Kind
		detail string
	}{
		{"auvious", simulator.Answer{Body: `{"error":"no such customer"}`}, auvious.ErrRejected, "404 application/json, error: no such customer"},
		{"as text/plain", simulator.Answer{Body: `{"error":"no"}`, Header: header("Content-Type", "text/plain")}, auvious.ErrRejected, "404 text/plain, error: no"},
		{"without a content type", simulator.Answer{Body: `{"error":"no"}`, Header: http.Header{"Content-Type": nil}}, auvious.ErrRejected, "404 without a content type, error: no"},
		{"with a byte order mark", simulator.Answer{Body: "\ufeff" + `{"error":"no"}`}, auvious.ErrRejected, "404 application/json, error: no"},
		{"gzip", simulator.Answer{Body: gzipped(t, `{"error":"no"}`)}, auvious.ErrRejected, "404 application/json, error: no"},
		{"gzip by its header only", simulator.Answer{Body: `{"error":"no"}`, Header: header("Content-Encoding", "gzip")}, auvious.ErrRejected, "error: no"},
		{
			"an ingress",
			simulator.Answer{Body: "default backend - 404", Header: header("Content-Type", "text/plain; charset=utf-8")},
			auvious.ErrNotDone, "room endpoint: 404 text/plain, not JSON",
		},
		{"a page", simulator.Answer{Body: "<h1>hush</h1>", Header: html}, auvious.ErrNotDone, "room endpoint: 404 text/html, not JSON"},
		{"an empty page", simulator.Answer{Header: html}, auvious.ErrNotDone, "room endpoint: 404 text/html, empty"},
		{
			"a type that is a secret",
			simulator.Answer{Body: "hush", Header: header("Content-Type", "text/hush")},
			auvious.ErrNotDone, "room endpoint: 404 with another content type, not JSON",
		},
		{"another object", simulator.Answer{Body: `{"message":"hush"}`}, auvious.ErrNotDone, "404 application/json, JSON without an error"},
		{"an error that is no text", simulator.Answer{Body: `{"error":404}`}, auvious.ErrNotDone, "404 application/json, JSON without an error"},
		{"an error that is an object", simulator.Answer{Body: `{"error":{"code":"hush"}}`}, auvious.ErrNotDone, "JSON without an error"},
		{"an empty error", simulator.Answer{Body: `{"error":" "}`}, auvious.ErrNotDone, "JSON without an error"},
		{"an array", simulator.Answer{Body: `[{"error":"hush"}]`}, auvious.ErrNotDone, "404 application/json, no JSON object"},
		{"a string", simulator.Answer{Body: `"hush"`}, auvious.ErrNotDone, "404 application/json, no JSON object"},
		{"two objects", simulator.Answer{Body: `{"error":"hush"}{}`}, auvious.ErrNotDone, "404 application/json, not JSON"},
		{"too long", simulator.Answer{Body: `{"error":"` + strings.Repeat("hush", 20<<10) + `"}`}, auvious.ErrNotDone, "longer than 64 KiB"},
		{"a bomb", simulator.Answer{Body: gzipped(t, `{"error":"`+strings.Repeat("hush", 5<<20)+`"}`)}, auvious.ErrNotDone, "longer than 64 KiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			test.answer.Status = 404
			f.answer(test.answer)
			failed := mustFail(t, f.client(t), "call-1")
			wantKind(t, failed, test.want, 404)
			wantDetail(t, failed, test.detail)
			f.wantCalls(t, 1, 1)
		})
	}
}

// TestInvalidToken: the client replaces a token once that auvious calls invalid, whatever the status of the refusal.
func TestInvalidToken(t *testing.T) {
	t.Parallel()
	said := func(status int, body string) simulator.Answer { return simulator.Answer{Status: status, Body: body} }
	challenge := http.Header{"WWW-Authenticate": {`Basic realm="hush"`, `Bearer realm="auvious", error="invalid_token"`}}
	for _, test := range []struct {
		name    string
		answer  simulator.Answer
		refused bool
	}{
		{"401", said(401, ""), true},
		{"401 of a proxy", said(401, "<h1>hush</h1>"), true},
		{"403", said(403, `{"error":"invalid_token","error_description":"hush"}`), true},
		{"400", said(400, `{"error":"invalid_token"}`), true},
		{"404 in a text", said(404, "invalid_token: hush"), true},
		{"429", said(429, `{"error":"invalid_token"}`), true},
		{"403 in another member", said(403, `{"error":"hush","code":"invalid_token"}`), true},
		{"403 in an object", said(403, `{"error":{"code":"invalid_token"}}`), true},
		{"403 in the header", simulator.Answer{Status: 403, Header: challenge}, true},
		{"403 for another reason", said(403, `{"error":"not_an_invalid_token_at_all"}`), false},
		{"403 insufficient scope", said(403, `{"error":"insufficient_scope"}`), false},
		{"500", said(500, `{"error":"invalid_token"}`), false},
		{"503 in the header", simulator.Answer{Status: 503, Header: challenge}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, simulator.Config{})
			client := f.client(t)
			f.Script(func(call simulator.Call) *simulator.Answer {
				if call.Number > 1 {
					return nil
				}
				return &test.answer
			})
			if !test.refused {
				if failed := mustFail(t, client, "call-1"); failed.Kind == auvious.ErrAccount {
					t.Errorf("error: got %v, want another kind", failed)
				}
				f.wantCalls(t, 1, 1)
				return
			}
			mustCreate(t, client, "call-1")
			f.wantCalls(t, 2, 2)
			f.answer(test.answer) // from now on, to every token
			failed := mustFail(t, client, "call-2")
			wantKind(t, failed, auvious.ErrAccount, test.answer.Status)
			wantCause(t, failed, auvious.RoomEndpoint, "invalid_token")
			wantDetail(t, failed, "the access token is refused")
			f.wantCalls(t, 3, 4)
		})
	}
}

// TestInvalidTokenRepeated: a refusal that only repeats the request says nothing of the token.
func TestInvalidTokenRepeated(t *testing.T) {
	t.Parallel()
	f := serve(t, simulator.Config{})
	f.answer(simulator.Answer{Status: 422, Body: `{"error":"no interaction invalid_token"}`})
	wantKind(t, mustFail(t, f.client(t), "invalid_token"), auvious.ErrRejected, 422)
	f.wantCalls(t, 1, 1)
}
