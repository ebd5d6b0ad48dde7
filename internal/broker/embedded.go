package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"roomlink/internal/secret"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// ListenOff is the value of [EmbeddedConfig.Listen] for a broker that nobody
// outside the process reaches.
const ListenOff = "off"

// partsUser is the user of the parts in this process. Its password is made anew
// at each start and leaves the process nowhere.
const partsUser = "roomlink"

// maxPayload bounds a message, in bytes. Our largest is a dead letter around an
// event, which is an id of 256 bytes and a few URLs.
const maxPayload = 256 << 10

// startTimeout is how long the embedded server may take to recover its store.
const startTimeout = 2 * time.Minute

// ErrLocked says that another process uses the data directory.
var ErrLocked = errors.New("another process uses the data directory")

// ErrStore says that the store in the data directory cannot be used as it is.
var ErrStore = errors.New("the store in the data directory cannot be used")

// EmbeddedConfig says how to run the broker inside this process.
type EmbeddedConfig struct {
	// Dir is the data directory. It is made if it is missing.
	Dir string
	// Sync is 0 to sync the store on every write, so that an acknowledged event
	// survives a power cut, else the interval between syncs.
	Sync time.Duration
	// Listen is the TCP address where others reach the broker; "" or [ListenOff]
	// for nowhere.
	Listen string
	// Accounts may each be read by a subscriber.
	Accounts []string
	Logger   zerolog.Logger
}

// embedded is the server in this process. It may be another one after a restart,
// which connections survive as they do that of any server.
type embedded struct {
	log zerolog.Logger
	dir string
	// password is that of the parts.
	password secret.String
	lock     *flock.Flock
	current  atomic.Pointer[server.Server]
	// trouble is what was wrong with the store when it was last looked at; nil if
	// nothing was.
	trouble atomic.Pointer[error]

	// mu is held while a server is started, stopped or changed.
	mu     sync.Mutex
	config EmbeddedConfig
	closed bool
}

var _ nats.InProcessConnProvider = (*embedded)(nil)

// Embed starts a NATS server in this process on the store in a data directory,
// and returns once it has recovered it. It returns an error that wraps
// [ErrDirectory], [ErrLocked] or [ErrStore] and says what to do, or the context's;
// any other is the server's.
func Embed(ctx context.Context, config EmbeddedConfig) (*Broker, error) {
	if err := PrepareDirectory(config.Dir); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(config.Dir, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking the data directory %q: %w", config.Dir, err)
	}
	if !locked {
		return nil, fmt.Errorf("%w %q: stop it, or choose another with ROOMLINK_DATA_DIR", ErrLocked, config.Dir)
	}
	e := &embedded{log: config.Logger, dir: config.Dir, password: secret.String(rand.Text()), lock: lock, config: config}
	if err := e.start(ctx); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	b := &Broker{
		log:      config.Logger,
		embedded: e,
		syncs:    config.Sync == 0,
		options: []nats.Option{
			nats.InProcessServer(e),
			nats.UserInfo(partsUser, e.password.Reveal()),
			nats.CustomInboxPrefix(partsInbox),
		},
	}
	if err := b.resume(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// InProcessConn implements [nats.InProcessConnProvider].
func (e *embedded) InProcessConn() (net.Conn, error) {
	conn, err := e.current.Load().InProcessConn()
	if err != nil {
		return nil, err
	}
	return &pipe{Conn: conn}, nil
}

// mostWritten bounds what is written to a pipe at once, in bytes: the server reads into
// a buffer that it makes larger and smaller after every few reads, up to 64 KiB.
const mostWritten = 4 << 10

// pipe is a connection within the process, where a deadline costs a timer. The one of
// a write stays for the next ones, until half of it has passed.
type pipe struct {
	net.Conn
	until time.Time
}

// Write implements [net.Conn].
func (p *pipe) Write(data []byte) (int, error) {
	written := 0
	for written < len(data) {
		n, err := p.Conn.Write(data[written:min(written+mostWritten, len(data))])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// SetWriteDeadline implements [net.Conn] for one writer at a time.
func (p *pipe) SetWriteDeadline(t time.Time) error {
	if t.Sub(p.until) < writeTimeout/2 { // and so too for none
		return nil
	}
	p.until = t
	return p.Conn.SetWriteDeadline(t)
}

// start starts a server. The caller holds mu, or is the only one.
func (e *embedded) start(ctx context.Context) error {
	options, err := serverOptions(e.config, e.password)
	if err != nil {
		return err
	}
	srv, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("preparing the embedded broker: %w", err)
	}
	log := &serverLog{log: e.log.With().Str("component", "broker").Logger()}
	srv.SetLoggerV2(log, false, false, false)
	srv.Start()
	if err := awaitServer(ctx, srv, log, e.config); err != nil {
		stopServer(srv)
		return err
	}
	if listening, ok := srv.Addr().(*net.TCPAddr); ok {
		e.config.Listen = listening.String() // its port may have been chosen by the system
	}
	e.current.Store(srv)
	return nil
}

func stopServer(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

// restart starts another server on the same store, for the same users.
func (e *embedded) restart(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	stopServer(e.current.Load())
	return e.start(ctx)
}

// setAccounts gives the running server other accounts. Connections of users that
// stay are left alone.
func (e *embedded) setAccounts(accounts []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := e.config
	next.Accounts = accounts
	options, err := serverOptions(next, e.password)
	if err != nil {
		return err
	}
	if err := e.current.Load().ReloadOptions(options); err != nil {
		return fmt.Errorf("reloading the users of the embedded broker: %w", err)
	}
	e.config = next
	return nil
}

// health returns what is wrong with the server's streams and store.
func (e *embedded) health() error {
	if status := e.current.Load().Healthz(nil); status.Error != "" {
		return fmt.Errorf("%w: %s", ErrUnhealthy, status.Error)
	}
	return nil
}

// close stops the server and returns when its store is closed.
func (e *embedded) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.closed = true
	stopServer(e.current.Load())
	if err := e.lock.Unlock(); err != nil {
		e.log.Warn().Err(err).Msg("data directory stays locked")
	}
}
