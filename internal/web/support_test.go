package web_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"roomlink/internal/waittest"
	"roomlink/internal/web"
)

// running is a server that runs.
type running struct {
	url     string
	address string
	// stop has the server begin to stop; done tells what Run returned.
	stop func()
	done <-chan error
}

// serve runs a server, and stops it with the test.
func serve(tb testing.TB, server web.Server) running {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	ctx, stop := context.WithCancel(tb.Context())
	done, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		done <- server.Run(ctx, listener)
	}()
	tb.Cleanup(func() {
		stop()
		<-ended
	})
	address := listener.Addr().String()
	return running{url: "http://" + address, address: address, stop: stop, done: done}
}

// get asks once, on a connection of its own.
func get(tb testing.TB, url string) (*http.Response, []byte, error) {
	tb.Helper()
	r, err := http.NewRequestWithContext(waittest.Limited(tb), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatalf("making a request: %v", err)
	}
	r.Close = true
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer, body, err
}

// wantError compares an answer with an error of our form.
func wantError(tb testing.TB, answer *http.Response, body []byte, status int, code string) map[string]string {
	tb.Helper()
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		tb.Fatalf("answer %d %q: got error %v, want JSON", answer.StatusCode, body, err)
	}
	flat := map[string]string{}
	for name, value := range got {
		text, ok := value.(string)
		if !ok {
			tb.Errorf("answer's %q: got %v, want a string", name, value)
		}
		flat[name] = text
	}
	if answer.StatusCode != status || len(got) != 2 || flat["error"] != code || flat["error_description"] == "" {
		tb.Errorf("got %d %s, want %d with exactly error %q and error_description", answer.StatusCode, body, status, code)
	}
	if kind := answer.Header.Get("Content-Type"); kind != "application/json" {
		tb.Errorf("Content-Type: got %q, want application/json", kind)
	}
	return flat
}

// record has a handler answer in memory.
func record(handler http.Handler, r *http.Request) (*http.Response, []byte) {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result(), w.Body.Bytes()
}
