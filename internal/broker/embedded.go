package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"roomlink/internal/storecheck"
)

// ListenOff is the value of [EmbeddedConfig.Listen] for a broker without a listener.
const ListenOff = "off"

// maxPayload bounds a message, in bytes. Our largest message is a dead letter: an event with
// an id of up to 256 bytes and a few URLs.
const maxPayload = 256 << 10

// MaxAccounts is the largest number of accounts that the embedded broker serves. To create or
// recover the consumer of an account, the server (nats-server 2.15) compares it with all other
// consumers. docs/performance.md has the figures.
const MaxAccounts = 5000

var (
	// ErrLocked means that another process uses the data directory.
	ErrLocked = errors.New("another process uses the data directory")
	// ErrStore means that the store in the data directory needs repair. The error says what
	// to do.
	ErrStore = errors.New("the store in the data directory cannot be used")
)

// EmbeddedConfig configures the broker inside this process.
type EmbeddedConfig struct {
	// Dir is the data directory. It is made if it is missing.
	Dir string
	// Sync is the interval between syncs of the store. 0 syncs on every write, so that an
	// acknowledged event survives a power failure.
	Sync time.Duration
	// Listen is the TCP address for other processes; "" or [ListenOff] for none.
	Listen string
	// TLS secures the connections of other processes; nil for plain text.
	TLS         *tls.Config
	Subscribers []Subscriber
	Logger      zerolog.Logger
	// OnProgress gets a few words on how far the start is; nil for nobody. It must not block.
	OnProgress func(string)
}

// embedded is the server in this process. A restart replaces the server, and the connections
// reconnect to the new one.
type embedded struct {
	log   zerolog.Logger
	dir   string
	parts *partPasswords
	lock  *flock.Flock
	// secured reports whether the listener has TLS.
	secured bool
	current atomic.Pointer[server.Server]
	// trouble is the error of the last store check; nil for none.
	trouble atomic.Pointer[error]
	// findings are those of the first start.
	findings *storecheck.Findings

	// streams are the streams that the server has recovered or made in its present life.
	streamsMu sync.Mutex
	streams   map[string]bool

	// mu is held while the server is started, stopped or reconfigured.
	mu     sync.Mutex
	config EmbeddedConfig
	closed bool
}

var _ nats.InProcessConnProvider = (*embedded)(nil)

// Embed starts a NATS server in this process on the store in a data directory. It returns
// when the server has recovered its store. It returns an error that wraps [ErrDirectory],
// [ErrLocked] or [ErrStore] and says what to do, the context's error, or an error of the
// server.
func Embed(ctx context.Context, config EmbeddedConfig) (*Broker, error) {
	if err := PrepareDirectory(config.Dir); err != nil {
		return nil, err
	}
	lock, err := LockDirectory(config.Dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{
		log: config.Logger, dir: config.Dir, parts: newPartPasswords(), lock: lock, secured: config.TLS != nil, config: config,
	}
	if old := oldSubscribers(config.Dir); len(old) > 0 {
		config.Logger.Warn().Strs("files", old).Msg("the broker users \"subscriber\" and \"subscriber-<account>\" have ended: " +
			"name each subscriber (docs/subscribe.md), then delete these files")
	}
	if err := e.start(ctx); errors.Is(err, errNotEnded) {
		return nil, err // the server still uses the directory
	} else if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	b := &Broker{
		log: config.Logger, embedded: e, syncs: config.Sync == 0, provisions: true, ended: make(chan error, 1),
		login: func(role Role) []nats.Option {
			return []nats.Option{
				nats.InProcessServer(e),
				nats.UserInfo(string(role), e.parts.of[role].Reveal()),
				nats.CustomInboxPrefix(role.inbox()),
			}
		},
	}
	if err := b.redeliverAfterClockSkew(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// InProcessConn implements [nats.InProcessConnProvider].
func (e *embedded) InProcessConn() (net.Conn, error) {
	return e.current.Load().InProcessConn()
}

// start starts a server. The caller must hold mu, except in Embed.
func (e *embedded) start(ctx context.Context) error {
	found, err := e.checkStore(ctx)
	if err != nil {
		return err
	}
	options, err := serverOptions(e.config, e.parts)
	if err != nil {
		return err
	}
	srv, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("preparing the embedded broker: %w", err)
	}
	log := &serverLog{log: e.log.With().Str("component", "broker").Logger()}
	srv.SetLoggerV2(log, false, false, false)
	if err := e.recover(ctx, srv, log, found); err != nil {
		return err
	}
	if listening, ok := srv.Addr().(*net.TCPAddr); ok {
		e.config.Listen = listening.String() // a restart keeps a port that the system chose
	}
	e.current.Store(srv)
	e.forgetStreams()
	e.rememberStreams()
	return nil
}

func stopServer(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

// restart replaces the server by a new one on the same store.
func (e *embedded) restart(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	stopServer(e.current.Load())
	return e.start(ctx)
}

// setSubscribers replaces the subscribers of the running server. Users that remain stay
// connected.
func (e *embedded) setSubscribers(subscribers []Subscriber) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || slices.Equal(subscribers, e.config.Subscribers) {
		return nil
	}
	next := e.config
	next.Subscribers = subscribers
	// A reload does not make the imports of a NATS account that is new in it. A second one does
	// (nats-server 2.15.2, configureAccounts).
	for range 2 {
		options, err := serverOptions(next, e.parts)
		if err != nil {
			return err
		}
		if err := e.current.Load().ReloadOptions(options); err != nil {
			return fmt.Errorf("reloading the users of the embedded broker: %w", err)
		}
	}
	e.config = next
	return nil
}

// health returns an error that wraps ErrUnhealthy if a stream or the store has failed.
func (e *embedded) health() error {
	status := e.current.Load().Healthz(&server.HealthzOptions{Details: true})
	for _, fault := range status.Errors {
		// While the server runs, that is a stream that somebody deletes. A restart would harm.
		if !strings.HasSuffix(fault.Error, "could not be recovered") {
			return fmt.Errorf("%w: %s", ErrUnhealthy, fault.Error)
		}
	}
	if status.Error != "" {
		return fmt.Errorf("%w: %s", ErrUnhealthy, status.Error)
	}
	e.rememberStreams()
	return nil
}

// close stops the server and waits until its store is closed.
func (e *embedded) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed = true
	stopServer(e.current.Load())
	if err := e.lock.Unlock(); err != nil {
		e.log.Warn().Err(err).Msg("unlocking the data directory failed")
	}
}
