package web_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/web"
)

// wantConnClosed waits until the server closes a connection.
func wantConnClosed(tb testing.TB, conn net.Conn) {
	tb.Helper()
	if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
		tb.Errorf("an idle connection: got error %v, want it closed", err)
	}
}

// answered sends a request on a connection and reads its answer.
func answered(tb testing.TB, conn net.Conn) {
	tb.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		tb.Fatalf("sending a request: %v", err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		tb.Fatalf("the answer: got %v and error %v, want 200", answer, err)
	}
	_ = answer.Body.Close()
}

// The server closes the connection that has been idle for longest, and no other.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	registry := prometheus.NewRegistry()
	r := serve(t, web.Server{
		Handler: http.HandlerFunc(echoBody), MaxConnections: 3, Metrics: web.NewMetrics(registry),
	})
	first, idle, last := r.dial(t, ""), r.dial(t, ""), r.dial(t, "")
	answered(t, last) // so the server has accepted all three
	answered(t, first)
	r.wantGood(t)
	wantConnClosed(t, idle)
	answered(t, first)
	answered(t, last)
	if got := roomlinktest.SumMetric(t, registry, "roomlink_http_idle_connections_closed_total"); got != 1 {
		t.Errorf("closed idle connections: got %v, want 1", got)
	}
}

// Requests are answered, however many connections are idle from their beginning.
func TestManyIdleConnections(t *testing.T) {
	r := serve(t, web.Server{Handler: http.HandlerFunc(echoBody), MaxConnections: 20})
	for range 100 {
		r.dial(t, "")
	}
	r.wantGood(t)
}

// A busy connection is never closed. A new one waits for it.
func TestBusyConnectionsStay(t *testing.T) {
	began, finish := make(chan struct{}), make(chan struct{})
	r := serve(t, web.Server{MaxConnections: 1, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			<-finish
		}
		w.WriteHeader(http.StatusOK)
	})})
	slow := r.dial(t, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	roomlinktest.Receive(t, began, "the slow request")
	waiting := r.dial(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	close(finish)
	for _, conn := range []net.Conn{slow, waiting} {
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("the answer: got %v and error %v, want 200", answer, err)
		}
		_ = answer.Body.Close()
	}
}

// A server that waits for a busy connection stops.
func TestStopWhileConnectionsWait(t *testing.T) {
	began := make(chan struct{})
	r := serve(t, web.Server{MaxConnections: 1, Grace: soon, Handler: http.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
		})})
	r.dial(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	roomlinktest.Receive(t, began, "the request")
	r.dial(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	r.stop()
	if err := roomlinktest.Receive(t, r.done, "the end of the server"); err != nil {
		t.Errorf("stopping: got error %v, want none", err)
	}
}

// An idle connection of HTTP/2 makes room, too. One with a stream does not.
func TestConnectionsOverHTTP2(t *testing.T) {
	spare := httptest.NewUnstartedServer(nil)
	spare.StartTLS()
	config := spare.TLS.Clone()
	spare.Close()
	config.NextProtos = []string{"h2"}
	streaming := make(chan struct{})
	r := serveOn(t, web.Server{MaxConnections: 2, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		if r.URL.Path == "/stream" {
			_ = http.NewResponseController(w).Flush()
			close(streaming)
			<-r.Context().Done()
		}
	})}, func(l net.Listener) net.Listener { return tls.NewListener(l, config) })
	ask := func(path string) *http.Response {
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
		}
		t.Cleanup(transport.CloseIdleConnections)
		request, err := http.NewRequestWithContext(roomlinktest.Context(t), http.MethodGet, "https://"+r.address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := transport.RoundTrip(request)
		if err != nil || answer.ProtoMajor != 2 {
			t.Fatalf("%s: got %v and error %v, want an answer over HTTP/2", path, answer, err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		return answer
	}
	stream := ask("/stream")
	roomlinktest.Receive(t, streaming, "the stream")
	for range 5 {
		ask("/") // each on a connection that then is idle
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, stream.Body)
	}()
	select {
	case <-ended:
		t.Error("the busy connection: got it closed, want it open")
	default:
	}
	_ = stream.Body.Close()
	<-ended
}

// full is a listener whose accepts fail for too many open files, some times.
type full struct {
	net.Listener

	failures int
}

// Accept implements [net.Listener].
func (f *full) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

// "Too many open files" is counted, and a line of the log says once what to do.
func TestTooManyOpenFiles(t *testing.T) {
	registry, log := prometheus.NewRegistry(), &roomlinktest.Logbook{}
	server := web.Server{
		Handler: http.HandlerFunc(echoBody), Metrics: web.NewMetrics(registry), Logger: zerolog.New(log),
	}
	r := serveOn(t, server, func(l net.Listener) net.Listener { return &full{Listener: l, failures: 3} })
	r.wantGood(t)
	if got := roomlinktest.SumMetric(t, registry, "roomlink_http_accept_failures_total"); got != 3 {
		t.Errorf("failed accepts: got %v, want 3", got)
	}
	if got := strings.Count(log.String(), "ulimit -n"); got != 1 {
		t.Errorf("lines of the log: got %d, want 1\n%s", got, log)
	}
}

func TestAllowedConnections(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if got := web.AllowedConnections(10); got != 10 {
		t.Errorf("10 wanted connections: got %d, want 10", got)
	}
	if got := web.AllowedConnections(1 << 40); uint64(got) >= limit.Cur || got < 1 {
		t.Errorf("too many wanted connections: got %d, want fewer than %d", got, limit.Cur)
	}
}
