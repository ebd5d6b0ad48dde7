package web_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/web"
)

// running is a running server.
type running struct {
	url     string
	address string
	// stop begins to stop the server. done receives the result of Run.
	stop func()
	done <-chan error
}

// serve runs a server until the test ends.
func serve(tb testing.TB, server web.Server) running {
	tb.Helper()
	return serveOn(tb, server, func(listener net.Listener) net.Listener { return listener })
}

// serveOn runs a server on a wrapped listener until the test ends.
func serveOn(tb testing.TB, server web.Server, wrap func(net.Listener) net.Listener) running {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	ctx, stop := context.WithCancel(tb.Context())
	done, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		done <- server.Run(ctx, wrap(listener))
	}()
	tb.Cleanup(func() {
		stop()
		<-ended
	})
	address := listener.Addr().String()
	return running{url: "http://" + address, address: address, stop: stop, done: done}
}

// get sends a request on a new connection.
func get(tb testing.TB, url string) (roomlinktest.Reply, error) {
	tb.Helper()
	r, err := http.NewRequestWithContext(roomlinktest.Context(tb), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatalf("making a request: %v", err)
	}
	r.Close = true
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return roomlinktest.Reply{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return roomlinktest.Reply{Status: answer.StatusCode, Header: answer.Header, Body: string(body)}, err
}

// record serves a request in memory.
func record(handler http.Handler, r *http.Request) roomlinktest.Reply {
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return roomlinktest.Reply{Status: w.Code, Header: w.Result().Header, Body: w.Body.String()}
}
