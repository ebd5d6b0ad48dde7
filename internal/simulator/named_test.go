package simulator_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roomlink/internal/simulator"
)

// tokenRequest returns a token call with the default credentials.
func (a auvious) tokenRequest(t *testing.T) *http.Request {
	t.Helper()
	return request(t, http.MethodPost, a.url+"/security/oauth/token", formType,
		form(simulator.DefaultClientID, simulator.DefaultClientSecret))
}

// setNamed sets one named fault.
func (a auvious) setNamed(t *testing.T, name string) {
	t.Helper()
	if err := a.SetFaults(simulator.Faults{Named: []string{name}}); err != nil {
		t.Fatal(err)
	}
}

// TestNamedFaults compares the answer to the call with each fault, and the number of rooms.
func TestNamedFaults(t *testing.T) {
	const html, links, token = "text/html; charset=utf-8", `"agentUrl":`, `"access_token":`
	type want struct {
		status      int
		contentType string
		body        string // a part of it
		rooms       int
	}
	json := func(status int, body string, rooms int) want { return want{status, "application/json", body, rooms} }
	wants := map[string]want{
		"ingress-404":          {404, "text/plain; charset=utf-8", "default backend - 404", 0},
		"firewall-403":         {403, html, "<title>Forbidden", 0},
		"misdirected":          {421, html, "<title>Misdirected Request", 0},
		"redirect":             {302, html, "<title>Found", 0},
		"cloudflare-521":       {521, html, "<title>", 0},
		"gateway-502":          {502, html, "<title>Bad Gateway", 1},
		"gateway-504":          {504, html, "<title>Gateway Timeout", 1},
		"cloudflare-520":       {520, html, "<title>", 1},
		"cloudflare-524":       {524, html, "<title>", 1},
		"drop":                 {0, "", "", 1},
		"hang":                 {0, "", "", 1},
		"cut-off":              {0, "", "", 1},
		"rejected":             json(422, `{"error":"simulated fault"}`, 0),
		"busy":                 json(429, `{"error":"simulated fault"}`, 0),
		"invalid-token":        json(403, `{"error":"invalid_token"}`, 0),
		"invalid-token-header": json(400, "", 0),
		"first-token-invalid":  json(403, `{"error":"invalid_token"}`, 0),
		"no-links":             json(200, "{}", 1),
		"recording-null":       json(200, `"recordingUrl":null`, 1),
		"recording-absent":     json(200, links, 1),
		"bom":                  json(200, "\ufeff{"+links, 1),
		"text-plain":           {200, "text/plain", links, 1},
		"no-content-type":      {200, "", links, 1},
		"gzip":                 json(200, "\x1f\x8b", 1),
		"false-gzip":           json(200, links, 1),

		"token-html":             {200, html, "<title>OK", 0},
		"token-empty":            json(200, "", 0),
		"token-ingress-404":      {404, "text/plain; charset=utf-8", "default backend - 404", 0},
		"token-unavailable":      {503, html, "<title>Service Unavailable", 0},
		"token-refused":          json(401, `{"error":"invalid_client"}`, 0),
		"token-drop":             {0, "", "", 0},
		"token-type-mac":         json(200, `"token_type":"mac"`, 0),
		"token-type-absent":      json(200, token, 0),
		"token-line-break":       json(200, `\r\n"`, 0),
		"token-broken":           json(200, `\n`, 0),
		"token-expires-decimal":  json(200, `"expires_in":3600.0`, 0),
		"token-expires-exponent": json(200, `"expires_in":3.6e3`, 0),
		"token-expires-text":     json(200, `"expires_in":"3600"`, 0),
		"token-expires-empty":    json(200, `"expires_in":""`, 0),
	}
	for _, name := range slices.Sorted(maps.Keys(simulator.NamedFaults())) {
		t.Run(name, func(t *testing.T) {
			a := serve(t, simulator.Config{})
			r := a.roomRequest(t, a.token(t), roomBody("1"))
			if strings.HasPrefix(name, "token-") {
				r = a.tokenRequest(t)
			}
			r.Header.Set("Accept-Encoding", "identity") // shows the body as it is sent
			a.setNamed(t, name)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if name == "hang" {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
			}
			want, ok := wants[name]
			if !ok {
				t.Fatal("the test does not know this fault")
			}
			got, err := do(r.WithContext(ctx))
			if rooms := a.Rooms("1"); rooms != want.rooms {
				t.Errorf("got %d rooms, want %d", rooms, want.rooms)
			}
			if want.status == 0 {
				if err == nil {
					t.Errorf("got a whole answer %d, want none", got.status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.status != want.status || got.header.Get("Content-Type") != want.contentType || !strings.Contains(got.body, want.body) {
				t.Errorf("got %d %s with %q, want %d %s with %q",
					got.status, got.header.Get("Content-Type"), got.body, want.status, want.contentType, want.body)
			}
			switch encoding := got.header.Get("Content-Encoding"); {
			case strings.HasSuffix(name, "gzip") != (encoding == "gzip"):
				t.Errorf("got Content-Encoding %q", encoding)
			case strings.HasSuffix(name, "-absent") && (strings.Contains(got.body, "recordingUrl") || strings.Contains(got.body, "token_type")):
				t.Errorf("got %q, want it without a member", got.body)
			}
		})
	}
}

// TestOddTokensWork: a token that came in an odd answer is as good as another.
func TestOddTokensWork(t *testing.T) {
	for _, name := range []string{"token-line-break", "token-type-absent", "token-expires-exponent"} {
		a := serve(t, simulator.Config{})
		a.setNamed(t, name)
		token := strings.TrimSpace(a.token(t))
		wantStatus(t, mustDo(t, a.roomRequest(t, token, roomBody("1"))), http.StatusOK)
	}
}

// TestFirstTokenInvalid: the fault is that of the first token alone.
func TestFirstTokenInvalid(t *testing.T) {
	a := serve(t, simulator.Config{})
	first, second := a.token(t), a.token(t)
	a.setNamed(t, "first-token-invalid")
	wantStatus(t, mustDo(t, a.roomRequest(t, first, roomBody("1"))), http.StatusForbidden)
	wantStatus(t, mustDo(t, a.roomRequest(t, second, roomBody("1"))), http.StatusOK)
}

// TestNamedFaultLimits: a fault ends after its calls or its time, or has its share of calls.
func TestNamedFaultLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := simulator.New(simulator.Config{})
		if err != nil {
			t.Fatal(err)
		}
		call := func() bool {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/security/facades/room", nil))
			return w.Code == http.StatusNotFound
		}
		count := func(calls int) (faults int) {
			for range calls {
				if call() {
					faults++
				}
			}
			return faults
		}
		set := func(name string) {
			if err := s.SetFaults(simulator.Faults{Named: []string{name}}); err != nil {
				t.Fatal(err)
			}
		}
		set("ingress-404")
		if got := count(10); got != 10 {
			t.Errorf("without a limit: got %d of 10, want all", got)
		}
		set("ingress-404:first=3")
		if got := count(10); got != 3 {
			t.Errorf("first 3: got %d of 10, want 3", got)
		}
		set("ingress-404:for=3s")
		<-time.After(time.Minute) // the time begins with the first call
		for second, want := range []bool{true, true, true, false, false} {
			if got := call(); got != want {
				t.Errorf("for 3 seconds, in second %d: got a fault: %v, want %v", second, got, want)
			}
			<-time.After(time.Second)
		}
		const calls = 2000
		set("ingress-404:share=0.5")
		if got := count(calls); math.Abs(float64(got)-calls/2) > 6*math.Sqrt(calls/4) {
			t.Errorf("share of one half: got %d of %d", got, calls)
		}
	})
}

// TestNamedFaultRetryAfter: refusals have the Retry-After header, and good answers do not.
func TestNamedFaultRetryAfter(t *testing.T) {
	a := serve(t, simulator.Config{})
	token := a.token(t)
	for _, name := range []string{"busy", "gateway-504", "bom"} {
		if err := a.SetFaults(simulator.Faults{Named: []string{name}, RetryAfter: "1.5"}); err != nil {
			t.Fatal(err)
		}
		want := "1.5"
		if name == "bom" {
			want = ""
		}
		if got := mustDo(t, a.roomRequest(t, token, roomBody("1"))).header.Get("Retry-After"); got != want {
			t.Errorf("%s: got Retry-After %q, want %q", name, got, want)
		}
	}
	if err := a.SetFaults(simulator.Faults{Named: []string{"busy"}, RetryAfter: "date+30s"}); err != nil {
		t.Fatal(err)
	}
	got := mustDo(t, a.roomRequest(t, token, roomBody("1"))).header.Get("Retry-After")
	at, err := http.ParseTime(got)
	if left := time.Until(at); err != nil || left <= 0 || left > 30*time.Second {
		t.Errorf("got Retry-After %q, want the date in 30 seconds", got)
	}
}

func TestNamedFaultsRefused(t *testing.T) {
	a := serve(t, simulator.Config{})
	for _, name := range []string{
		"", "nonsense", "bom:", "bom:first", "bom:first=0", "bom:first=-1", "bom:share=2", "bom:share=0", "bom:share=NaN",
		"bom:for=0s", "bom:for=soon", "bom:last=3",
	} {
		if err := a.SetFaults(simulator.Faults{Named: []string{name}}); !errors.Is(err, simulator.ErrFaults) {
			t.Errorf("%q: got %v, want ErrFaults", name, err)
		}
	}
	if err := a.SetFaults(simulator.Faults{RetryAfter: "date+soon"}); !errors.Is(err, simulator.ErrFaults) {
		t.Errorf("a date that is none: got %v, want ErrFaults", err)
	}
	answer := mustDo(t, request(t, http.MethodPut, a.url+"/simulator/faults", "application/json", `{"named":["ingress-404:first=1"]}`))
	wantStatus(t, answer, http.StatusOK)
	if !strings.Contains(answer.body, `"named":["ingress-404:first=1"]`) {
		t.Errorf("got %s, want the named fault in it", answer.body)
	}
	wantStatus(t, mustDo(t, a.roomRequest(t, "", roomBody("1"))), http.StatusNotFound)
	wantStatus(t, mustDo(t, a.roomRequest(t, "", roomBody("1"))), http.StatusUnauthorized)
}
