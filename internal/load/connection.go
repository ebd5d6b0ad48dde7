package load

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// maxIdle is the idle time after which a connection is replaced. The server closes idle connections, and a
	// request sent meanwhile is lost.
	maxIdle = 30 * time.Second
	// maxResponse bounds the body of a response, in bytes.
	maxResponse = 64 << 10
)

// connection is an HTTP/1.1 client on one goroutine, because the load generator shares its cores with the
// system under test. The client of net/http takes some 23 µs more CPU for each request (BenchmarkPost), a tenth
// of two cores at 10,000 requests per second.
type connection struct {
	address string

	conn     net.Conn
	lastUsed time.Time
	reader   *bufio.Reader
	// request and body are buffers that the next request uses again.
	request []byte
	body    bytes.Buffer
}

// response is the webhook's response to a request.
type response struct {
	status int
	// duplicate reports whether the webhook already knew the event.
	duplicate bool
}

// duplicateStatus occurs in the body of a response to a duplicate.
var duplicateStatus = []byte(`"status":"duplicate"`)

// post sends a request and reads the response. An error means that there was none; the next request then opens
// a new connection.
func (c *connection) post(ctx context.Context, request []byte) (response, error) {
	c.request = request
	got, err := c.roundTrip(ctx)
	if err != nil {
		c.close()
	}
	return got, err
}

func (c *connection) roundTrip(ctx context.Context) (got response, err error) {
	now := time.Now()
	if now.Sub(c.lastUsed) > maxIdle {
		c.close()
	}
	if c.conn == nil {
		dialer := net.Dialer{Timeout: requestTimeout}
		if c.conn, err = dialer.DialContext(ctx, "tcp", c.address); err != nil {
			return got, err
		}
		c.reader = bufio.NewReader(c.conn)
	}
	c.lastUsed = now
	if err := c.conn.SetDeadline(now.Add(requestTimeout)); err != nil {
		return got, err
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return got, err
	}
	return c.read()
}

func (c *connection) read() (response, error) {
	got, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return response{}, err
	}
	defer got.Body.Close()
	c.body.Reset()
	if _, err := c.body.ReadFrom(io.LimitReader(got.Body, maxResponse)); err != nil {
		return response{}, err
	}
	if got.Close {
		c.close()
	}
	duplicate := got.StatusCode == http.StatusOK && bytes.Contains(c.body.Bytes(), duplicateStatus)
	return response{got.StatusCode, duplicate}, nil
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Close() // no request is under way
		c.conn = nil
	}
}
