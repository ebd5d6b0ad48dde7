// Package broker connects the parts of roomlink to NATS JetStream. The server runs inside
// the process ([Embed]) or elsewhere ([Dial]). Both return a [Broker].
//
// It guarantees that:
//   - a publish fails immediately while the broker is unreachable, and is never buffered;
//   - a connection leaves a server that hangs or that a partition separates from its cluster;
//   - a connection comes back with the credentials of the moment, however often it was refused;
//   - no other user receives the replies to our requests;
//   - the embedded server has closed its store when [Broker.Close] returns.
package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/backoff"
)

const (
	connectTimeout = 1500 * time.Millisecond
	writeTimeout   = time.Second
	flushTimeout   = time.Second
	// A server that hangs keeps its connections open. A connection leaves it when more than
	// maxPings pings are unanswered.
	pingInterval = 3 * time.Second
	maxPings     = 2
)

var (
	connectBackoff = backoff.Backoff{Min: 250 * time.Millisecond, Max: 10 * time.Second}
	// reconnectBackoff is shorter, because callers wait for a lost connection.
	reconnectBackoff = backoff.Backoff{Min: 250 * time.Millisecond, Max: 2 * time.Second}
)

var (
	// ErrUnhealthy means that the broker runs but cannot do its work.
	ErrUnhealthy = errors.New("the broker is not healthy")
	// ErrClosed means that a connection is closed for good although nobody closed it. The
	// process must be restarted.
	ErrClosed = errors.New("a connection to the broker is closed for good")
)

// Broker is a NATS server with JetStream, in this process or elsewhere.
type Broker struct {
	log zerolog.Logger
	// login returns the options of a connection with a role.
	login func(Role) []nats.Option
	url   string
	// domain is the JetStream domain of the streams; "" for that of the server.
	domain string
	// embedded is nil for an external broker.
	embedded *embedded
	// syncs reports whether each write waits for the disk.
	syncs      bool
	provisions bool

	mu     sync.Mutex
	conns  []*connection
	closed bool
	// ended receives the error of a connection that is closed for good.
	ended chan error

	// The partition watchers of an external broker run in ctx. stop ends it, and watchers
	// waits for them.
	ctx      context.Context //nolint:containedctx // of background tasks
	stop     context.CancelFunc
	watchers sync.WaitGroup
}

// Connect opens a connection with a role, for the named part. [Broker.Close] closes it. Connect
// returns an error that wraps [ErrUnsuitable], or one of NATS.
func (b *Broker) Connect(role Role, part string) (jetstream.JetStream, error) {
	c, err := b.connect(role, part, nats.ClosedHandler(b.reportEnd))
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = append(b.conns, c)
	if b.embedded == nil {
		watcher := partitionWatcher{js: c.js, log: c.log}
		b.watchers.Go(func() { watcher.run(b.ctx) })
	}
	return c.js, nil
}

// reportEnd makes [Broker.Run] return the error of a connection that nobody closed.
func (b *Broker) reportEnd(nc *nats.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	reason := nc.LastError()
	if reason == nil {
		reason = nats.ErrConnectionClosed
	}
	select {
	case b.ended <- fmt.Errorf("%w: %q to %s: %w", ErrClosed, nc.Opts.Name, b.target(), reason):
	default: // another one ended before
	}
}

func (b *Broker) connect(role Role, part string, more ...nats.Option) (*connection, error) {
	c := &connection{target: b.target(), log: b.log.With().Str("connection", part).Logger()}
	options := slices.Concat([]nats.Option{
		nats.Name("roomlink " + part),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			delay := reconnectBackoff.Delay(uint64(max(attempts, 1)))
			return delay + rand.N(delay/2)
		}),
		nats.ReconnectBufSize(-1),
		// By default the second refusal in a row closes a connection for good. The user's
		// password may be right again a moment later.
		nats.IgnoreAuthErrorAbort(),
		// The client holds its lock during a write, and callers wait for the lock even after
		// their context ended. So no write may take long.
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectOnFlusherError(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
	}, c.options(), b.login(role), more)
	nc, err := nats.Connect(b.url, options...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	if err := cmp.Or(checkServer(nc), checkInbox(nc)); err != nil {
		nc.Close()
		return nil, err
	}
	if b.domain != "" {
		c.js, err = jetstream.NewWithDomain(nc, b.domain)
	} else {
		c.js, err = jetstream.New(nc)
	}
	return c, err // for impossible options only
}

// target names the broker in errors, without credentials.
func (b *Broker) target() string {
	if b.embedded != nil {
		return "the embedded broker"
	}
	return WithoutCredentials(b.url)
}

// Health returns nil, or an error that wraps [ErrUnhealthy] or [ErrUnsuitable] and describes
// the problem of the embedded server's streams and store or of a connection.
func (b *Broker) Health() error {
	if b.embedded != nil {
		if err := b.embedded.health(); err != nil {
			return err
		}
	}
	for _, c := range b.connections() {
		if err := c.health(); err != nil {
			return err
		}
	}
	return nil
}

// Connected reports whether all connections stand.
func (b *Broker) Connected() bool {
	for _, c := range b.connections() {
		if !c.js.Conn().IsConnected() {
			return false
		}
	}
	return true
}

func (b *Broker) connections() []*connection {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.conns)
}

// Explain returns an error that wraps [ErrNotConnected] and says since when the connection js
// is lost and why, if err follows from that. It returns every other error as it is.
func (b *Broker) Explain(js jetstream.JetStream, err error) error {
	if err == nil {
		return nil
	}
	for _, c := range b.connections() {
		if c.js.Conn() == js.Conn() {
			return c.explain(err)
		}
	}
	return err
}

// Trouble returns the result of the last store check of [Broker.Run], which is a few
// seconds old at most: nil, or an error that wraps [ErrUnhealthy]. Unlike [Broker.Health]
// it costs nothing.
func (b *Broker) Trouble() error {
	if b.embedded == nil {
		return nil
	}
	if trouble := b.embedded.trouble.Load(); trouble != nil {
		return *trouble
	}
	return nil
}

// Embedded reports whether the server runs in this process.
func (b *Broker) Embedded() bool { return b.embedded != nil }

// SyncsWrites reports whether each write waits for the disk, so that group commits pay
// off. For an external broker it is unknown, and SyncsWrites returns true.
func (b *Broker) SyncsWrites() bool { return b.syncs }

// SetSubscribers replaces the subscribers of the embedded server. The connections of those that
// remain stay open. It does nothing for an external broker, which manages its own users.
func (b *Broker) SetSubscribers(subscribers []Subscriber) error {
	if b.embedded == nil {
		return nil
	}
	return b.embedded.setSubscribers(subscribers)
}

// Provisions reports whether the connection of [RoleProvisioner] has rights of its own. Otherwise
// it has those of the process' user.
func (b *Broker) Provisions() bool { return b.provisions }

// Address returns the URL for other processes, without credentials; "" if the embedded
// server does not listen.
func (b *Broker) Address() string {
	if b.embedded == nil {
		return WithoutCredentials(b.url)
	}
	address := b.embedded.current.Load().Addr()
	if address == nil {
		return ""
	}
	if b.embedded.secured {
		return "tls://" + address.String()
	}
	return "nats://" + address.String()
}

// Close closes the connections, then the embedded server and its store. It may be called
// twice.
func (b *Broker) Close() {
	b.mu.Lock()
	conns := b.conns
	b.conns, b.closed = nil, true
	b.mu.Unlock()
	if b.embedded == nil {
		b.stop()
		b.watchers.Wait()
	}
	for _, c := range conns {
		nc := c.js.Conn()
		_ = nc.FlushTimeout(flushTimeout) // sends pending acknowledgements
		nc.Close()
	}
	if b.embedded != nil {
		b.embedded.close()
	}
}
