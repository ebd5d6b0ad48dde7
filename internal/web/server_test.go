package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/web"
)

const token = "AQLOinvented-token_0123456789"

// logged serves a request through the middleware and returns the answer and the log.
func logged(handler http.HandlerFunc, r *http.Request) (roomlinktest.Reply, string) {
	var log roomlinktest.Logbook
	answer := record(web.Logged(zerolog.New(&log))(handler), r)
	return answer, log.String()
}

func TestLoggedMasksTokens(t *testing.T) {
	for path, want := range map[string]string{
		"/open/" + token:                     "/open/***",
		"/open/" + token + "/":               "/open/***/",
		"/card/" + token:                     "/card/***",
		"/card/" + token + "/events":         "/card/***/events",
		"/card/" + token + "?from=x":         "/card/***",
		"/open/" + token + "%2F" + token[:1]: "/open/***/***",
		"/open//" + token:                    "/open//***",
		"/%6Fpen/" + token:                   "/open/***",
		"//open/" + token:                    "//open/***",
		"/base/card/" + token + "/events":    "/base/card/***/events",
		"/links/interaction-1":               "/links/interaction-1",
		"/links/interaction-1?key=" + token:  "/links/interaction-1",
		"/talkdesk/events?api_key=" + token:  "/talkdesk/events",
		"/assets/card.js":                    "/assets/card.js",
		"/card/" + token + "/open/x":         "/card/***/***/***",
		"/Open/" + token:                     "/Open/***",
		"/opened":                            "/opened",
	} {
		_, log := logged(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
			httptest.NewRequest(http.MethodGet, path, nil))
		var line struct {
			Message, Method, Path, Remote string
			Status                        int
		}
		if err := json.Unmarshal([]byte(log), &line); err != nil {
			t.Fatalf("%s: reading the log %q: %v", path, log, err)
		}
		if line.Path != want || line.Method != http.MethodGet || line.Status != 204 || line.Message != "request answered" {
			t.Errorf("%s: got %+v, want the path %q", path, line, want)
		}
		if strings.Contains(log, token) {
			t.Errorf("%s: got %s, want no token", path, log)
		}
	}
}

func TestLoggedTurnsPanicInto500(t *testing.T) {
	answer, log := logged(func(http.ResponseWriter, *http.Request) { panic("the ticket is xyzzy") },
		httptest.NewRequest(http.MethodGet, "/open/"+token, nil))
	answer.WantError(t, 500, "internal")
	for _, want := range []string{"request panicked", "server_test.go", `"status":500`} {
		if !strings.Contains(log, want) {
			t.Errorf("log: got %s, want %q in it", log, want)
		}
	}
	if text := answer.Body + log; strings.Contains(text, "xyzzy") || strings.Contains(text, token) {
		t.Errorf("got %s, want neither the text of the panic nor the token", text)
	}
}

func TestServerSurvivesPanics(t *testing.T) {
	var log roomlinktest.Logbook
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("at once") })
	mux.HandleFunc("/abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	mux.HandleFunc("/half", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half of it")
		_ = http.NewResponseController(w).Flush()
		panic("in between")
	})
	server := serve(t, web.Server{Handler: web.Logged(zerolog.New(&log))(mux)})

	answer, err := get(t, server.url+"/panic")
	if err != nil {
		t.Fatalf("panic at once: got error %v, want an answer", err)
	}
	answer.WantError(t, 500, "internal")
	for _, path := range []string{"/half", "/abort"} {
		if answer, err := get(t, server.url+path); err == nil {
			t.Errorf("%s: got the whole answer %q, want a truncated one", path, answer.Body)
		}
	}
	if answer, err := get(t, server.url+"/good"); err != nil || answer.Status != http.StatusOK {
		t.Errorf("after the panics: got %v and error %v, want 200", answer, err)
	}
	server.stop()
	if err := roomlinktest.Receive(t, server.done, "the end"); err != nil {
		t.Errorf("stopping: got error %v, want none", err)
	}
	if got := strings.Count(log.String(), "request answered"); got != 4 {
		t.Errorf("log: got %d lines of answers, want 4 in:\n%s", got, log.String())
	}
}

// hold is a handler that signals a call and waits for its release.
type hold struct {
	begun   chan struct{}
	release chan struct{}
}

func newHold() *hold {
	return &hold{begun: make(chan struct{}, 1), release: make(chan struct{})}
}

func (h *hold) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.begun <- struct{}{}
	select {
	case <-h.release:
		_, _ = io.WriteString(w, "done")
	case <-r.Context().Done():
	}
}

type outcome struct {
	body string
	err  error
}

// ask sends a request in the background.
func ask(t *testing.T, url string) <-chan outcome {
	t.Helper()
	outcomes := make(chan outcome, 1)
	go func() {
		answer, err := get(t, url)
		outcomes <- outcome{answer.Body, err}
	}()
	return outcomes
}

// wantClosed waits until the address refuses connections.
func wantClosed(t *testing.T, address string) {
	t.Helper()
	for ctx := roomlinktest.Context(t); ctx.Err() == nil; {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return
		}
		// A connection that was accepted just before is closed without an answer.
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	t.Fatalf("new connections to %s: got one, want none", address)
}

func TestServerLetsRequestsFinish(t *testing.T) {
	handler := newHold()
	server := serve(t, web.Server{Handler: handler, Grace: 30 * time.Second})
	asked := ask(t, server.url)
	roomlinktest.Receive(t, handler.begun, "the request")
	server.stop()
	wantClosed(t, server.address)
	select {
	case err := <-server.done:
		t.Fatalf("with a running request: got the end with error %v, want a wait", err)
	default:
	}
	close(handler.release)
	if got := roomlinktest.Receive(t, asked, "the answer"); got.err != nil || got.body != "done" {
		t.Errorf("running request: got %q and error %v, want its answer", got.body, got.err)
	}
	if err := roomlinktest.Receive(t, server.done, "the end"); err != nil {
		t.Errorf("stopping: got error %v, want none", err)
	}
}

func TestServerClosesConnectionsAfterGrace(t *testing.T) {
	var log roomlinktest.Logbook
	handler := newHold()
	server := serve(t, web.Server{Handler: handler, Grace: 20 * time.Millisecond, Logger: zerolog.New(&log)})
	asked := ask(t, server.url)
	roomlinktest.Receive(t, handler.begun, "the request")
	server.stop()
	if err := roomlinktest.Receive(t, server.done, "the end"); err != nil {
		t.Errorf("stopping: got error %v, want none", err)
	}
	if got := roomlinktest.Receive(t, asked, "the answer"); got.err == nil {
		t.Errorf("running request: got %q, want it cut off", got.body)
	}
	if !strings.Contains(log.String(), "requests cut off") {
		t.Errorf("log: got %q, want the line \"requests cut off\"", log.String())
	}
}

func TestServerReturnsListenerError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening: %v", err)
	}
	if err := listener.Close(); err != nil {
		t.Fatalf("closing: %v", err)
	}
	err = web.Server{Handler: http.NotFoundHandler()}.Run(roomlinktest.Context(t), listener)
	if !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), listener.Addr().String()) {
		t.Errorf("got error %v, want %v with the address", err, net.ErrClosed)
	}
}

func TestUntilStopping(t *testing.T) {
	began, ended := make(chan struct{}), make(chan error, 1)
	server := serve(t, web.Server{Grace: 30 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := web.UntilStopping(r)
		defer stop()
		close(began)
		<-ctx.Done()
		ended <- r.Context().Err()
		_, _ = io.WriteString(w, "partial answer")
	})})
	asked := ask(t, server.url)
	roomlinktest.Receive(t, began, "the request")
	server.stop()
	if err := roomlinktest.Receive(t, ended, "the end of the wait"); err != nil {
		t.Errorf("the request's own context: got error %v, want none", err)
	}
	if got := roomlinktest.Receive(t, asked, "the answer"); got.err != nil || got.body != "partial answer" {
		t.Errorf("running request: got %q and error %v, want its answer", got.body, got.err)
	}
	if err := roomlinktest.Receive(t, server.done, "the end"); err != nil {
		t.Errorf("stopping: got error %v, want none", err)
	}
}

func TestUntilStoppingEndsWithTheRequest(t *testing.T) {
	for name, end := range map[string]func(request, own context.CancelFunc){
		"the request":  func(request, _ context.CancelFunc) { request() },
		"its own stop": func(_, own context.CancelFunc) { own() },
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		parent, cancel := context.WithCancel(t.Context())
		ctx, stop := web.UntilStopping(r.WithContext(parent))
		if ctx.Err() != nil {
			t.Errorf("before %s ended: got error %v, want none", name, ctx.Err())
		}
		end(cancel, stop)
		if ctx.Err() == nil {
			t.Errorf("after %s ended: got no error, want one", name)
		}
		stop()
		cancel()
	}
}
