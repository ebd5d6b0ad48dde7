package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// ErrNotConnected means that a connection to the broker is lost. The connection comes back
// by itself.
var ErrNotConnected = errors.New("not connected to the broker")

// connection is one of our connections to a server.
type connection struct {
	js  jetstream.JetStream
	log zerolog.Logger
	// target names the broker in errors.
	target string

	mu sync.Mutex
	// lostAt is when the connection was lost for the last time, and cause is the error that
	// ended it. foundAt is when it came back; zero while it is lost.
	lostAt, foundAt time.Time
	cause           error
	// unsuitable is the fault of the server that the connection came back to; nil for none.
	unsuitable error
}

// options returns the options that report what happens to the connection.
func (c *connection) options() []nats.Option {
	return []nats.Option{
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				c.lose(err)
			}
		}),
		nats.ReconnectHandler(c.restore),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !isRefusal(err) {
				c.log.Warn().Err(err).Msg("broker reported an error")
			} else if c.refuse(err) {
				c.log.Warn().Err(err).Msg("broker refused the connection: trying again")
			}
		}),
	}
}

// isRefusal reports whether a server turned the connection away.
func isRefusal(err error) bool {
	for _, refusal := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrMaxConnectionsExceeded, nats.ErrMaxAccountConnectionsExceeded,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

func (c *connection) lose(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lostAt, c.foundAt, c.cause = time.Now(), time.Time{}, err
	c.log.Warn().Err(err).Msg("broker connection lost")
}

// refuse notes why a server turned the connection away. It reports whether the reason is new.
func (c *connection) refuse(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := errors.Is(c.cause, err)
	c.cause = err
	return !known
}

func (c *connection) restore(nc *nats.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foundAt, c.unsuitable = time.Now(), checkServer(nc)
	server := WithoutCredentials(nc.ConnectedUrl())
	if c.unsuitable != nil {
		c.log.Error().Err(c.unsuitable).Str("server", server).Msg("broker connection restored, but to a server that cannot be used")
		return
	}
	c.log.Info().Str("server", server).Msg("broker connection restored")
}

// health returns nil, or an error that describes the problem of the connection.
func (c *connection) health() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lost := c.lost(); lost != "" {
		return fmt.Errorf("%w: %s", ErrUnhealthy, lost)
	}
	return c.unsuitable
}

// lost describes the loss of the connection; "" while it is connected. The caller must hold
// mu.
func (c *connection) lost() string {
	if c.js.Conn().IsConnected() {
		return ""
	}
	if !c.foundAt.IsZero() || c.lostAt.IsZero() { // the handler has not run yet
		return fmt.Sprintf("not connected to %s since %s", c.target, time.Now().Format(time.TimeOnly))
	}
	return fmt.Sprintf("not connected to %s since %s%s", c.target, c.lostAt.Format(time.TimeOnly), c.because())
}

// because returns the cause of the last loss, in brackets.
func (c *connection) because() string {
	if c.cause == nil {
		return ""
	}
	return " (" + strings.TrimPrefix(c.cause.Error(), "nats: ") + ")"
}

// explain returns an error that says since when the connection is lost, if err follows from
// that. It returns other errors as they are.
func (c *connection) explain(err error) error {
	ended, waited := false, errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
	// The client has no better errors for a connection that it is about to restore.
	for _, end := range []error{
		nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting, nats.ErrDisconnected, nats.ErrStaleConnection,
		nats.ErrConnectionClosed, jetstream.ErrConnectionClosed,
	} {
		ended = ended || errors.Is(err, end)
	}
	if !ended && !waited || errors.Is(err, ErrNotConnected) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch lost := c.lost(); {
	case lost != "":
		return &lostError{lost, err}
	case ended && !c.lostAt.IsZero():
		found := c.foundAt
		if found.IsZero() { // the handler has not run yet
			found = time.Now()
		}
		return &lostError{fmt.Sprintf("not connected to %s from %s to %s%s", c.target,
			c.lostAt.Format(time.TimeOnly), found.Format(time.TimeOnly), c.because()), err}
	}
	return err
}

// lostError is [ErrNotConnected] with its circumstances. It hides the text of the client's
// error.
type lostError struct {
	text string
	err  error
}

// Error implements error.
func (e *lostError) Error() string { return e.text }

// Unwrap returns [ErrNotConnected] and the client's error.
func (e *lostError) Unwrap() []error { return []error{ErrNotConnected, e.err} }
