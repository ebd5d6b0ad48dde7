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

// soon is a limit that a test waits for.
const soon = 50 * time.Millisecond

// taker is a handler that reads the body, and answers how long it was.
func taker(w http.ResponseWriter, r *http.Request) {
	body, err := web.ReadBody(w, r, new(bytes.Buffer))
	if err != nil {
		web.Fail(w, err)
		return
	}
	web.JSON(w, http.StatusOK, map[string]string{"body": string(body)})
}

// dial opens a connection and sends the beginning of a request on it.
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

// drip goes on sending a byte now and then until the connection fails.
func drip(conn net.Conn, one string) {
	ticker := time.NewTicker(soon / 10)
	defer ticker.Stop()
	for range ticker.C {
		if _, err := io.WriteString(conn, one); err != nil {
			return
		}
	}
}

// wantGood asks for something on a connection of its own, and gets it.
func (r running) wantGood(tb testing.TB) {
	tb.Helper()
	if answer, err := get(tb, r.url); err != nil || answer.Status != http.StatusOK {
		tb.Errorf("the next good request: got %v and error %v, want 200", answer, err)
	}
}

// awaitConnections waits until that many connections are served, each by a
// goroutine of its own. The tests of this package run one by one.
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
			tb.Fatalf("connections that are served: got %d, want %d", got, want)
		}
	}
}

// Whoever does not say in time what is wanted is hung up on, however slow.
func TestServerEndsSlowHeaders(t *testing.T) {
	for name, test := range map[string]struct{ text, one, answer string }{
		"nothing at all": {},
		// net/http takes what there is of it for the whole line.
		"half a request line": {text: "GET / HT", answer: "HTTP/1.1 400 Bad Request"},
		"half a header":       {text: "POST / HTTP/1.1\r\nHost: x\r\nX-Half: "},
		"no end of headers":   {text: "GET / HTTP/1.1\r\nHost: x\r\n"},
		"a byte at a time":    {text: "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", one: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, web.Server{Handler: http.HandlerFunc(taker), HeaderTimeout: soon})
			conn := server.dial(t, test.text)
			if test.one != "" {
				go drip(conn, test.one)
			}
			// What was sent too late may make the end a reset; it is an end anyway.
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

// A body that does not come is told so, and the connection ends: what might still
// come of it is no request.
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
			server := serve(t, web.Server{Handler: http.HandlerFunc(taker), BodyTimeout: soon})
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
				t.Error("got a connection that stays, want Connection: close")
			}
			if rest, err := io.ReadAll(reader); len(rest) > 0 || isTimeout(err) {
				t.Errorf("after the answer: got %q and error %v, want the end of the connection", rest, err)
			}
			server.wantGood(t)
			awaitConnections(t, 0)
		})
	}
}

// readAnswer also tells whether the connection closes.
func readAnswer(tb testing.TB, from *bufio.Reader) (got roomlinktest.Reply, closes bool) {
	tb.Helper()
	answer, err := http.ReadResponse(from, nil)
	if err != nil {
		tb.Fatalf("reading an answer: %v", err)
	}
	return roomlinktest.ReadReply(tb, answer), answer.Close
}

// Whoever does not read the answer holds up its handler no longer than the limit.
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

// A connection that is kept for a next request is not kept for ever.
func TestServerEndsIdleConnections(t *testing.T) {
	server := serve(t, web.Server{Handler: http.HandlerFunc(taker), IdleTimeout: soon})
	reader := bufio.NewReader(server.dial(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	if answer, closes := readAnswer(t, reader); answer.Status != http.StatusOK || closes {
		t.Errorf("got %d %s, want 200 and a connection that stays", answer.Status, answer.Body)
	}
	if rest, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("then: got %q and error %v, want the end of the connection", rest, err)
	}
	awaitConnections(t, 0)
}

// Clients that say nothing, or half of something, hold up nobody, and leave
// nothing behind.
func TestServerWithIdleConnections(t *testing.T) {
	server := serve(t, web.Server{Handler: http.HandlerFunc(taker), Grace: soon})
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
		t.Errorf("stopping beside %d idle connections: got error %v, want none", idle, err)
	}
	awaitConnections(t, 0)
}

func TestServerBoundsHeaders(t *testing.T) {
	server := serve(t, web.Server{Handler: http.HandlerFunc(taker)})
	conn := server.dial(t, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", 32<<10)+"\r\n\r\n")
	if answer, _ := readAnswer(t, bufio.NewReader(conn)); answer.Status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("headers of 32 KiB: got %d %s, want 431", answer.Status, answer.Body)
	}
	server.wantGood(t)
}
