package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// idleMost is how long a connection may have lain idle and still be used: the
	// other side closes it at some time, and what is sent then is lost.
	idleMost = 30 * time.Second
	// mostAnswer bounds what is read of an answer, in bytes.
	mostAnswer = 64 << 10
)

// connection sends requests to the webhook, one after the other. It writes
// HTTP/1.1 by itself and reads the answers with net/http, on one goroutine, for the
// load shares its cores with what it measures: a request of 900 bytes to an empty
// net/http server cost 22 µs of CPU so, on both sides, 41 with net/http's Transport
// (two goroutines a connection, which hand every request over) and 55 with vegeta's
// attacker (v12.12.0: a result and a body for each hit besides), whose latencies
// also count from when a worker took a hit up, and not from when it was due.
type connection struct {
	address string
	timeout time.Duration

	conn net.Conn
	// reader and request are reused.
	reader   *bufio.Reader
	request  []byte
	answer   bytes.Buffer
	lastUsed time.Time
}

// answer is what the webhook answered.
type answer struct {
	status int
	// repeated says that the webhook took the event for a repeat.
	repeated bool
}

// repeatedStatus is in the body of an answer to a repeat.
var repeatedStatus = []byte(`"status":"duplicate"`)

// post sends a request and reads its answer. An error says that there was none,
// and ends the connection; the next request opens another.
func (c *connection) post(ctx context.Context, request []byte) (answer, error) {
	c.request = request
	found, err := c.roundTrip(ctx)
	if err != nil {
		c.close()
	}
	return found, err
}

func (c *connection) roundTrip(ctx context.Context) (answer, error) {
	now := time.Now()
	if c.conn != nil && now.Sub(c.lastUsed) > idleMost {
		c.close()
	}
	if c.conn == nil {
		conn, err := (&net.Dialer{Timeout: c.timeout}).DialContext(ctx, "tcp", c.address)
		if err != nil {
			return answer{}, fmt.Errorf("connecting: %w", err)
		}
		c.conn = conn
		if c.reader == nil {
			c.reader = bufio.NewReader(nil)
		}
		c.reader.Reset(conn)
	}
	c.lastUsed = now
	if err := c.conn.SetDeadline(now.Add(c.timeout)); err != nil {
		return answer{}, err
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return answer{}, err
	}
	return c.read()
}

// read reads an answer to its end.
func (c *connection) read() (answer, error) {
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	c.answer.Reset()
	if _, err := c.answer.ReadFrom(io.LimitReader(response.Body, mostAnswer)); err != nil {
		return answer{}, err
	}
	if response.Close {
		c.close()
	}
	return answer{
		status:   response.StatusCode,
		repeated: response.StatusCode == http.StatusOK && bytes.Contains(c.answer.Bytes(), repeatedStatus),
	}, nil
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Close() // what was sent on it has its answer, or gets none
		c.conn = nil
	}
}
