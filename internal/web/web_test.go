package web_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"roomlink/internal/web"
)

func TestFail(t *testing.T) {
	for _, test := range []struct {
		name   string
		err    error
		status int
		code   string
		// The values of the headers Retry-After and WWW-Authenticate.
		retryAfter, challenge string
	}{
		{"bad request", web.BadRequest("bad_thing", "the thing is %d", 7), 400, "bad_thing", "", ""},
		{"unauthorized", web.Unauthorized("who is there"), 401, "unauthorized", "", `Basic realm="roomlink", Bearer realm="roomlink"`},
		{"too many requests", web.TooMany("slow down", time.Second), 429, "too_many_requests", "1", ""},
		{"not found", web.NotFound("nothing here"), 404, "not_found", "", ""},
		{"unavailable", web.Unavailable("queue_full", "later", 10*time.Second), 503, "queue_full", "10", ""},
		{"part of a second", web.Unavailable("queue_full", "later", 1200*time.Millisecond), 503, "queue_full", "2", ""},
		{"without Retry-After", web.Unavailable("queue_full", "later", 0), 503, "queue_full", "", ""},
		{"custom", &web.Error{Status: 418, Code: "teapot", Description: "short and stout"}, 418, "teapot", "", ""},
		{"wrapped", fmt.Errorf("reading: %w", web.NotFound("nothing here")), 404, "not_found", "", ""},
		{"foreign", errors.New("the password is xyzzy"), 500, "internal", "", ""},
		{"none", nil, 500, "internal", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := record(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { web.Fail(w, test.err) }),
				httptest.NewRequest(http.MethodGet, "/", nil))
			answer.WantError(t, test.status, test.code)
			for name, want := range map[string]string{
				"Retry-After": test.retryAfter, "WWW-Authenticate": test.challenge,
				"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			} {
				if got := answer.Header.Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			if strings.Contains(answer.Body, "xyzzy") {
				t.Errorf("got %s, want no text of a foreign error", answer.Body)
			}
		})
	}
}

func TestFailDescribes(t *testing.T) {
	const want = `the "thing" is <b>7</b>`
	answer := record(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		web.Fail(w, web.BadRequest("bad_thing", "the %q is <b>%d</b>", "thing", 7))
	}), httptest.NewRequest(http.MethodGet, "/", nil))
	if got := answer.WantError(t, 400, "bad_thing")["error_description"]; got != want {
		t.Errorf("description: got %q, want %q", got, want)
	}
}

func TestJSONKeepsCacheControl(t *testing.T) {
	answer := record(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		web.JSON(w, http.StatusOK, map[string]string{})
	}), httptest.NewRequest(http.MethodGet, "/", nil))
	if got := answer.Header.Get("Cache-Control"); got != "max-age=60" {
		t.Errorf("Cache-Control: got %q, want what the handler set", got)
	}
}

// slow is the error of a read after its deadline.
type slow struct{}

func (slow) Error() string { return "too slow" }
func (slow) Timeout() bool { return true }

// A decoded body could be far larger than [web.MaxBody].
func TestReadBodyRefusesACoding(t *testing.T) {
	for coding, want := range map[string]int{
		"": 200, "identity": 200, "IDENTITY": 200, "gzip": 415, "br": 415, "x": 415, "identity, gzip": 415,
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
		r.Header.Set("Content-Encoding", coding)
		answer := record(http.HandlerFunc(echoBody), r)
		if answer.Status != want {
			t.Errorf("%q: got %d %s, want %d", coding, answer.Status, answer.Body, want)
		}
		if want == http.StatusOK {
			continue
		}
		answer.WantError(t, want, "unsupported_encoding")
		if got := answer.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("%q: Accept-Encoding: got %q, want identity", coding, got)
		}
	}
}

func TestReadBody(t *testing.T) {
	full := strings.Repeat("x", web.MaxBody)
	for _, test := range []struct {
		name   string
		body   io.Reader
		length int
		status int
		code   string
	}{
		{"empty", strings.NewReader(""), 0, 0, ""},
		{"largest", strings.NewReader(full), web.MaxBody, 0, ""},
		{"byte by byte", iotest.OneByteReader(strings.NewReader(full)), web.MaxBody, 0, ""},
		{"one byte too large", strings.NewReader(full + "x"), 0, 413, "too_large"},
		{"endless", endless{}, 0, 413, "too_large"},
		{"cut off", io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF)), 0, 400, "truncated"},
		{"too slow", io.MultiReader(strings.NewReader("{"), iotest.ErrReader(slow{})), 0, 408, "timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var body []byte
			answer := record(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var err error
				if body, err = web.ReadBody(w, r); err != nil {
					web.Fail(w, err)
				}
			}), httptest.NewRequest(http.MethodPost, "/", test.body))
			if test.status != 0 {
				answer.WantError(t, test.status, test.code)
			} else if answer.Status != http.StatusOK {
				t.Errorf("got %d %s, want the body", answer.Status, answer.Body)
			}
			if len(body) != test.length {
				t.Errorf("body: got %d bytes, want %d", len(body), test.length)
			}
		})
	}
}

// endless is an endless body.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// echo returns a router with one path that answers with its parameter.
func echo() http.Handler {
	router := web.NewRouter()
	router.Get("/things/{name}", echoName)
	router.Put("/things/{name}", echoName)
	return router
}

// echoName answers with the parameter of a path.
func echoName(w http.ResponseWriter, r *http.Request) {
	name, err := web.PathValue(r, "name")
	if err != nil {
		web.Fail(w, err)
		return
	}
	web.JSON(w, http.StatusOK, map[string]string{"name": name})
}

func TestRouterRefuses(t *testing.T) {
	for _, test := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/", 404, "not_found", ""},
		{"GET", "/thing/a", 404, "not_found", ""},
		{"GET", "/things/a/b", 404, "not_found", ""},
		{"GET", "//things/a", 404, "not_found", ""},
		{"GET", "/things/a/../b", 404, "not_found", ""},
		{"POST", "/nowhere", 404, "not_found", ""},
		{"POST", "/things/a", 405, "method_not_allowed", "GET,PUT"},
		{"HEAD", "/things/a", 405, "method_not_allowed", "GET,PUT"},
		{"DELETE", "/things/a%2Fb", 405, "method_not_allowed", "GET,PUT"},
		{"OPTIONS", "/things/a", 405, "method_not_allowed", "GET,PUT"},
		{"BREW", "/things/a", 405, "method_not_allowed", "GET,PUT"},
	} {
		answer := record(echo(), httptest.NewRequest(test.method, test.path, nil))
		answer.WantError(t, test.status, test.code)
		if got := strings.Join(answer.Header.Values("Allow"), ","); got != test.allow {
			t.Errorf("%s %s: Allow: got %q, want %q", test.method, test.path, got, test.allow)
		}
	}
}

// Doubled slashes and a trailing slash count only in the address of a page.
func TestRouterJoinsPaths(t *testing.T) {
	router := web.NewRouter()
	for _, pattern := range []string{"/links/{name}", "/open/{name}"} {
		router.Get(pattern, echoName)
		router.Post(pattern, echoName)
	}
	router.Post("/security/facades/room", echoName)
	for _, test := range []struct {
		method, path string
		status       int
		name         string
	}{
		{"POST", "/security/facades/room", 200, ""},
		{"POST", "//security/facades/room", 200, ""},
		{"POST", "/security/facades/room/", 200, ""},
		{"POST", "///security//facades///room//", 200, ""},
		{"POST", "//security/facades/room?x=//", 200, ""},
		{"POST", "/security/facades/room/x", 404, ""},
		{"POST", "/security/./facades/room", 404, ""},
		{"POST", "//", 404, ""},
		{"GET", "//security/facades/room", 404, ""},
		{"PUT", "//links/a/", 405, ""},
		{"POST", "//links/a/", 200, "a"},
		{"GET", "//links/a", 200, "a"},
		{"GET", "/links//a/", 200, "a"},
		{"GET", "/links/%2F%2Fa%2F/", 200, "//a/"},
		{"GET", "/links/..", 200, ".."},
		{"GET", "/links/", 404, ""},
		{"POST", "/open/a/", 200, "a"},
		{"GET", "/open/a", 200, "a"},
		{"GET", "/open/a/", 404, ""},
		{"GET", "//open/a", 404, ""},
	} {
		got := record(router, httptest.NewRequest(test.method, test.path, nil))
		if got.Status != test.status || test.status == http.StatusOK && got.Flat(t)["name"] != test.name {
			t.Errorf("%s %s: got %d %s, want %d with name %q", test.method, test.path, got.Status, got.Body, test.status, test.name)
		}
	}
}

func TestPathValue(t *testing.T) {
	for path, want := range map[string]string{
		"/things/a":            "a",
		"/things/a%2Fb":        "a/b",
		"/things/a%2fb%20c":    "a/b c",
		"/things/a%20b":        "a b",
		"/things/a+b":          "a+b",
		"/things/%61":          "a",
		"/things/%2561":        "%61",
		"/things/a%252Fb":      "a%2Fb",
		"/things/..":           "..",
		"/things/%2E%2E":       "..",
		"/things/..%2F..%2Fb":  "../../b",
		"/things/%E2%98%83":    "☃",
		"/things/%FF":          "\xff",
		"/things/a%00b":        "a\x00b",
		"/things/a;b=c":        "a;b=c",
		"/things/%3F%23%25%26": "?#%&",
	} {
		var got string
		router := web.NewRouter()
		router.Get("/things/{name}", func(w http.ResponseWriter, r *http.Request) {
			var err error
			if got, err = web.PathValue(r, "name"); err != nil {
				web.Fail(w, err)
			}
		})
		answer := record(router, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Status != http.StatusOK || got != want {
			t.Errorf("%s: got %q with %d %s, want %q", path, got, answer.Status, answer.Body, want)
		}
	}
}

// net/http refuses such a path, but a middleware might produce it.
func TestPathValueWithBadEncoding(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/things/a", nil)
	r.URL.RawPath = "/things/%zz"
	answer := record(echo(), r)
	answer.WantError(t, 400, "bad_address")
}

func ExampleFail() {
	w := httptest.NewRecorder()
	web.Fail(w, web.Unavailable("queue_full", "the queue is full: send the event again later", 10*time.Second))
	fmt.Println(w.Code, w.Header().Get("Retry-After"))
	fmt.Print(w.Body)
	// Output:
	// 503 10
	// {"error":"queue_full","error_description":"the queue is full: send the event again later"}
}
