package web

import (
	"container/list"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"

	"roomlink/internal/repeats"
)

const (
	// minKeptBack and keptBackShare are the descriptors that connections of HTTP leave to the
	// broker, its store and the calls to auvious: at least so many, and at least such a share.
	minKeptBack   = 128
	keptBackShare = 4
	// minConnections are allowed even if that leaves fewer descriptors.
	minConnections = 16
)

// AllowedConnections returns how many of the wanted connections the process may have: fewer if
// it has too few descriptors (RLIMIT_NOFILE).
func AllowedConnections(wanted int) int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return wanted
	}
	keptBack := max(minKeptBack, limit.Cur/keptBackShare)
	if limit.Cur < keptBack+minConnections {
		return min(wanted, minConnections)
	}
	return int(min(uint64(max(wanted, 0)), limit.Cur-keptBack))
}

// Metrics counts what happens to connections.
type Metrics struct {
	closed  prometheus.Counter
	refused prometheus.Counter
}

// NewMetrics registers the metrics of all servers of a process.
func NewMetrics(registerer prometheus.Registerer) *Metrics {
	auto := promauto.With(registerer)
	return &Metrics{
		closed: auto.NewCounter(prometheus.CounterOpts{
			Name: "roomlink_http_idle_connections_closed_total",
			Help: "Idle connections that were closed for new ones, because there were too many. Sum over processes.",
		}),
		refused: auto.NewCounter(prometheus.CounterOpts{
			Name: "roomlink_http_accept_failures_total",
			Help: "Connections that could not be accepted, mostly for too many open files. Sum over processes.",
		}),
	}
}

// connections bounds the connections of a listener. For a new one it closes the one that has
// been idle for longest. A busy one is never closed: if all are busy, the new one waits.
type connections struct {
	net.Listener

	max     int
	metrics *Metrics
	log     zerolog.Logger
	// repeats bounds the log lines about too many connections.
	repeats repeats.Lines

	// changed receives a value after a connection became idle or was closed.
	changed chan struct{}
	// stopped is closed when the listener is.
	stopped chan struct{}
	close   func() error

	mu sync.Mutex
	// open has each connection with its place in idle; nil for a busy one.
	open map[net.Conn]*list.Element
	// idle begins with the connection that has been idle for longest.
	idle *list.List
}

var _ net.Listener = (*connections)(nil)

func limitConnections(listener net.Listener, s Server) *connections {
	c := &connections{
		Listener: listener, max: s.MaxConnections, metrics: s.Metrics, log: s.Logger,
		changed: make(chan struct{}, 1), stopped: make(chan struct{}),
		open: map[net.Conn]*list.Element{}, idle: list.New(),
	}
	if c.metrics == nil {
		c.metrics = NewMetrics(nil)
	}
	c.close = sync.OnceValue(func() error {
		close(c.stopped)
		return listener.Close()
	})
	return c
}

// Accept implements [net.Listener]. It also makes room after an accept that failed for too many
// open files.
func (c *connections) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err == nil {
			if !c.makeRoom() {
				_ = conn.Close()
				return nil, net.ErrClosed
			}
			c.add(conn)
			return conn, nil
		}
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			return nil, err
		}
		c.metrics.refused.Inc()
		closed := c.closeIdle()
		c.repeats.Line(&c.log, zerolog.WarnLevel, "not accepted").Err(err).
			Msg("connection not accepted: raise the limit of open files (ulimit -n), or lower ROOMLINK_MAX_CONNECTIONS")
		if !closed {
			return nil, err // net/http waits a little and tries again
		}
	}
}

// Close implements [net.Listener].
func (c *connections) Close() error { return c.close() }

// makeRoom waits until there is room for one more connection. It returns false if the listener
// was closed meanwhile.
func (c *connections) makeRoom() bool {
	for c.full() && !c.closeIdle() {
		c.repeats.Line(&c.log, zerolog.WarnLevel, "busy").Int("connections", c.max).
			Msg("all connections are busy: new ones wait")
		select {
		case <-c.changed:
		case <-c.stopped:
			return false
		}
	}
	return true
}

func (c *connections) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.max > 0 && len(c.open) >= c.max
}

// add adds a new connection. It is idle until its first request.
func (c *connections) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[conn] = c.idle.PushBack(conn)
}

// closeIdle closes the connection that has been idle for longest. It returns false if none is.
func (c *connections) closeIdle() bool {
	c.mu.Lock()
	longest := c.idle.Front()
	if longest == nil {
		c.mu.Unlock()
		return false
	}
	conn, _ := c.idle.Remove(longest).(net.Conn)
	delete(c.open, conn)
	c.mu.Unlock()
	c.metrics.closed.Inc()
	if secured, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secured.NetConn() // TLS would first say goodbye, and wait for a slow peer
	}
	_ = conn.Close()
	return true
}

// observe follows the states of connections. It is the ConnState of [http.Server].
func (c *connections) observe(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	place, known := c.open[conn]
	if !known || state == http.StateNew {
		return
	}
	if place != nil {
		c.idle.Remove(place)
	}
	switch state {
	case http.StateIdle:
		c.open[conn] = c.idle.PushBack(conn)
	case http.StateActive:
		c.open[conn] = nil
		return
	default: // closed or hijacked
		delete(c.open, conn)
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
