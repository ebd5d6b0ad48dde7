package web_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/web"
)

// soon is a timeout that tests wait for.
const soon = 50 * time.Millisecond

// echoBody is a handler that answers with the body.
func echoBody(w http.ResponseWriter, r *http.Request) {
	body, err := web.ReadBody(w, r)
	if err != nil {
		web.Fail(w, err)
		return
	}
	web.JSON(w, http.StatusOK, map[string]string{"body": string(body)})
}

// dial opens a connection and sends the beginning of a request.
func (r running) dial(tb testing.TB, text string) net.Conn {
	tb.Helper()
	ctx := roomlinktest.Context(tb)
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.address)
	if err != nil {
		tb.Fatalf("connecting: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		tb.Fatalf("setting a deadline: %v", err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatalf("writing %q: %v", text, err)
	}
	return conn
}

// drip sends a byte at intervals until the connection fails.
func drip(conn net.Conn, one string) {
	ticker := time.NewTicker(soon / 10)
	defer ticker.Stop()
	for range ticker.C {
		if _, err := io.WriteString(conn, one); err != nil {
			return
		}
	}
}

// wantGood checks that a request on a new connection succeeds.
func (r running) wantGood(tb testing.TB) {
	tb.Helper()
	if answer, err := get(tb, r.url); err != nil || answer.Status != http.StatusOK {
		tb.Errorf("a request on a new connection: got %v and error %v, want 200", answer, err)
	}
}

// awaitConnections waits until the server has the given number of connections. It counts
// the goroutines of net/http, so tests of this package must not run in parallel.
func awaitConnections(tb testing.TB, want int) {
	tb.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for ctx := roomlinktest.Context(tb); ; {
		var stacks bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
			tb.Fatalf("reading the goroutines: %v", err)
		}
		got := strings.Count(stacks.String(), "net/http.(*conn).serve(")
		if got == want {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			tb.Fatalf("open connections: got %d, want %d", got, want)
		}
	}
}

// The server closes a connection whose headers do not arrive in time.
func TestServerEndsSlowHeaders(t *testing.T) {
	for name, test := range map[string]struct{ text, one, answer string }{
		"nothing at all": {},
		// net/http parses the part that it has.
		"half a request line": {text: "GET / HT", answer: "HTTP/1.1 400 Bad Request"},
		"half a header":       {text: "POST / HTTP/1.1\r\nHost: x\r\nX-Half: "},
		"no end of headers":   {text: "GET / HTTP/1.1\r\nHost: x\r\n"},
		"a byte at a time":    {text: "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", one: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, web.Server{Handler: http.HandlerFunc(echoBody), HeaderTimeout: soon})
			conn := server.dial(t, test.text)
			if test.one != "" {
				go drip(conn, test.one)
			}
			// Late data may turn the end into a reset.
			got, err := io.ReadAll(conn)
			if line, _, _ := strings.Cut(string(got), "\r\n"); line != test.answer || isTimeout(err) {
				t.Errorf("got %q and error %v, want %q and the end of the connection", got, err, test.answer)
			}
			server.wantGood(t)
			awaitConnections(t, 0)
		})
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// The server answers 408 to a body that does not arrive in time and closes the connection,
// so that the rest of the body is not read as a request.
func TestServerEndsSlowBodies(t *testing.T) {
	for name, test := range map[string]struct{ text, one string }{
		"none of it":       {"Content-Length: 100\r\n\r\n", ""},
		"half of it":       {"Content-Length: 100\r\n\r\n{\"event\":", ""},
		"half of a chunk":  {"Transfer-Encoding: chunked\r\n\r\n10\r\nabc", ""},
		"no last chunk":    {"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", ""},
		"after a continue": {"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n", ""},
		"a byte at a time": {"Content-Length: 60000\r\n\r\n", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, web.Server{Handler: http.HandlerFunc(echoBody), BodyTimeout: soon})
			conn := server.dial(t, "POST / HTTP/1.1\r\nHost: x\r\n"+test.text)
			if test.one != "" {
				go drip(conn, test.one)
			}
			reader := bufio.NewReader(conn)
			answer, closes := readAnswer(t, reader)
			if answer.Status == http.StatusContinue {
				answer, closes = readAnswer(t, reader)
			}
			answer.WantError(t, http.StatusRequestTimeout, "timeout")
			if !closes {
				t.Error("got an open connection, want Connection: close")
			}
			if rest, err := io.ReadAll(reader); len(rest) > 0 || isTimeout(err) {
				t.Errorf("after the answer: got %q and error %v, want the end of the connection", rest, err)
			}
			server.wantGood(t)
			awaitConnections(t, 0)
		})
	}
}

// readAnswer reads an answer and reports whether the connection will be closed.
func readAnswer(tb testing.TB, from *bufio.Reader) (got roomlinktest.Reply, closes bool) {
	tb.Helper()
	answer, err := http.ReadResponse(from, nil)
	if err != nil {
		tb.Fatalf("reading an answer: %v", err)
	}
	return roomlinktest.ReadReply(tb, answer), answer.Close
}

// A client that does not read its answer blocks the handler until the timeout only.
func TestServerEndsSlowReaders(t *testing.T) {
	failed := make(chan error, 1)
	server := serve(t, web.Server{AnswerTimeout: soon, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/endless" {
			return
		}
		var err error
		for block := make([]byte, 1<<20); err == nil; {
			_, err = w.Write(block)
		}
		failed <- err
	})})
	server.dial(t, "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := roomlinktest.Receive(t, failed, "the end of the answer"); !isTimeout(err) {
		t.Errorf("writing: got error %v, want a timeout", err)
	}
	server.wantGood(t)
	awaitConnections(t, 0)
}

// The server closes idle connections.
func TestServerEndsIdleConnections(t *testing.T) {
	server := serve(t, web.Server{Handler: http.HandlerFunc(echoBody), IdleTimeout: soon})
	reader := bufio.NewReader(server.dial(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	if answer, closes := readAnswer(t, reader); answer.Status != http.StatusOK || closes {
		t.Errorf("got %d %s, want 200 and an open connection", answer.Status, answer.Body)
	}
	if rest, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("then: got %q and error %v, want the end of the connection", rest, err)
	}
	awaitConnections(t, 0)
}

// Clients that send nothing or half a request block no other client and leave no
// goroutine behind.
func TestServerWithIdleConnections(t *testing.T) {
	server := serve(t, web.Server{Handler: http.HandlerFunc(echoBody), Grace: soon})
	beginnings := []string{
		"",
		"POST / HTTP/1.1\r\nHost: x\r\nX-Half: ",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	}
	const idle = 1000
	for i := range idle {
		server.dial(t, beginnings[i%len(beginnings)])
	}
	awaitConnections(t, idle)
	server.wantGood(t)
	server.stop()
	if err := roomlinktest.Receive(t, server.done, "the end"); err != nil {
		t.Errorf("stopping with %d idle connections: got error %v, want none", idle, err)
	}
	awaitConnections(t, 0)
}

func TestServerBoundsHeaders(t *testing.T) {
	server := serve(t, web.Server{Handler: http.HandlerFunc(echoBody)})
	for length, want := range map[int]int{32 << 10: http.StatusOK, 64 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		conn := server.dial(t, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", length)+"\r\n\r\n")
		if answer, _ := readAnswer(t, bufio.NewReader(conn)); answer.Status != want {
			t.Errorf("headers of %d bytes: got %d %s, want %d", length, answer.Status, answer.Body, want)
		}
	}
	server.wantGood(t)
}
