// Package broker connects the parts of roomlink to NATS JetStream. The server runs inside
// the process ([Embed]) or elsewhere ([Dial]). Both return a [Broker].
//
// It guarantees that:
//   - a publish fails immediately while the broker is unreachable, and is never buffered;
//   - a connection leaves a server that hangs or that a partition separates from its cluster;
//   - no other user receives the replies to our requests;
//   - the embedded server has closed its store when [Broker.Close] returns.
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

var connectBackoff = backoff.Backoff{Min: 250 * time.Millisecond, Max: 10 * time.Second}

// ErrPermissions means that the broker's user has other permissions than the ones that
// "roomlink nats config" prints.
var ErrPermissions = errors.New("the broker refuses what roomlink needs")

// ErrUnhealthy means that the broker runs but cannot do its work.
var ErrUnhealthy = errors.New("the broker is not healthy")

// Broker is a NATS server with JetStream, in this process or elsewhere.
type Broker struct {
	log zerolog.Logger
	// login returns the options of a connection with a role.
	login func(Role) []nats.Option
	url   string
	// embedded is nil for an external broker.
	embedded *embedded
	// syncs reports whether each write waits for the disk.
	syncs      bool
	provisions bool

	mu    sync.Mutex
	conns []*nats.Conn

	// The partition watchers of an external broker run in ctx. stop ends it, and watchers
	// waits for them.
	ctx      context.Context //nolint:containedctx // of background tasks
	stop     context.CancelFunc
	watchers sync.WaitGroup
}

// Connect opens a connection with a role, for the named part. [Broker.Close] closes it. It
// returns an error that wraps [ErrPermissions] if the broker does not let the user have its
// own inbox. Other errors are those of NATS.
func (b *Broker) Connect(role Role, part string) (jetstream.JetStream, error) {
	js, err := b.connect(role, part)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = append(b.conns, js.Conn())
	if b.embedded == nil {
		watcher := partitionWatcher{js: js, log: b.log.With().Str("connection", part).Logger()}
		b.watchers.Go(func() { watcher.run(b.ctx) })
	}
	return js, nil
}

func (b *Broker) connect(role Role, part string) (jetstream.JetStream, error) {
	log := b.log.With().Str("connection", part).Logger()
	options := append([]nats.Option{
		nats.Name("roomlink " + part),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(connectBackoff.Min),
		nats.ReconnectBufSize(-1),
		// The client holds its lock during a write, and callers wait for the lock even after
		// their context ended. So no write may take long.
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectOnFlusherError(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				log.Warn().Err(err).Msg("broker connection lost")
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info().Str("server", nc.ConnectedUrlRedacted()).Msg("broker connection restored")
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn().Err(err).Msg("broker reported an error")
		}),
	}, b.login(role)...)
	nc, err := nats.Connect(b.url, options...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	if err := checkInbox(nc); err != nil {
		nc.Close()
		return nil, err
	}
	return jetstream.New(nc) // fails for impossible options only
}

// checkInbox returns an error that wraps [ErrPermissions] if the user may not receive replies.
// Then every request would time out.
func checkInbox(nc *nats.Conn) error {
	inbox := nc.NewInbox()
	subscription, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = subscription.Unsubscribe() }() // the connection may have closed
	if err := nc.FlushTimeout(connectTimeout); err != nil {
		return err
	}
	if err := nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("%w: the NATS user must be able to subscribe to %q: apply the configuration that "+
			"\"roomlink nats config\" prints", ErrPermissions, inboxOf(inbox))
	}
	return nil
}

// inboxOf returns the permission for the inboxes with the prefix of one inbox.
func inboxOf(inbox string) string { return inbox[:strings.LastIndexByte(inbox, '.')] + ".>" }

// Health returns nil, or an error that wraps [ErrUnhealthy] and describes the problem of
// the embedded server's streams and store or of a connection.
func (b *Broker) Health() error {
	if b.embedded != nil {
		if err := b.embedded.health(); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, nc := range b.conns {
		if !nc.IsConnected() {
			return fmt.Errorf("%w: the connection %q is %v", ErrUnhealthy, nc.Opts.Name, nc.Status())
		}
	}
	return nil
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
		return withoutCredentials(b.url)
	}
	address := b.embedded.current.Load().Addr()
	if address == nil {
		return ""
	}
	return "nats://" + address.String()
}

// Close closes the connections, then the embedded server and its store. It may be called
// twice.
func (b *Broker) Close() {
	b.mu.Lock()
	conns := b.conns
	b.conns = nil
	b.mu.Unlock()
	if b.embedded == nil {
		b.stop()
		b.watchers.Wait()
	}
	for _, nc := range conns {
		_ = nc.FlushTimeout(flushTimeout) // sends pending acknowledgements
		nc.Close()
	}
	if b.embedded != nil {
		b.embedded.close()
	}
}
