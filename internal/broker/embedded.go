package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
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

// Embed starts a NATS server in this process on the store in a data directory,
// and returns once it has recovered it. It returns an error that wraps
// [ErrLocked] or [ErrStore] and says what to do, or the context's.
func Embed(ctx context.Context, config EmbeddedConfig) (*Broker, error) {
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	lock := flock.New(filepath.Join(config.Dir, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking the data directory %q: %w", config.Dir, err)
	}
	if !locked {
		return nil, fmt.Errorf("%w %q: stop it, or choose another with ROOMLINK_DATA_DIR", ErrLocked, config.Dir)
	}
	b, err := startServer(ctx, config)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	stop := b.close
	b.close = sync.OnceFunc(func() {
		stop()
		if err := lock.Unlock(); err != nil {
			config.Logger.Warn().Err(err).Msg("data directory stays locked")
		}
	})
	return b, nil
}

func startServer(ctx context.Context, config EmbeddedConfig) (*Broker, error) {
	password := secret.String(rand.Text())
	options, err := serverOptions(config, password)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("preparing the embedded broker: %w", err)
	}
	log := &serverLog{log: config.Logger.With().Str("component", "broker").Logger()}
	srv.SetLoggerV2(log, false, false, false)
	stop := func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
	srv.Start()
	if err := awaitServer(ctx, srv, log, config); err != nil {
		stop()
		return nil, err
	}
	return &Broker{
		log:    config.Logger,
		server: srv,
		close:  stop,
		reload: func(accounts []string) error {
			next := config
			next.Accounts = accounts
			return reloadServer(srv, next, password)
		},
		options: []nats.Option{
			nats.InProcessServer(srv),
			nats.UserInfo(partsUser, password.Reveal()),
			nats.CustomInboxPrefix(partsInbox),
		},
	}, nil
}

// serverOptions are what the server runs with. parts is the password of the parts
// in this process.
func serverOptions(config EmbeddedConfig, parts secret.String) (*server.Options, error) {
	accounts, err := accountsConfig(config.Dir, config.Accounts, parts)
	if err != nil {
		return nil, err
	}
	options := &server.Options{
		ServerName:   "roomlink",
		JetStream:    true,
		StoreDir:     config.Dir,
		SyncAlways:   config.Sync == 0,
		SyncInterval: config.Sync,
		MaxPayload:   maxPayload,
		NoSigs:       true,
	}
	if err := options.ProcessConfigString(accounts); err != nil {
		return nil, fmt.Errorf("preparing the users of the embedded broker: %w", err)
	}
	return options, setListen(options, config.Listen)
}

// reloadServer gives a running server other accounts. Connections of users that
// stay are left alone.
func reloadServer(srv *server.Server, config EmbeddedConfig, parts secret.String) error {
	if listening, ok := srv.Addr().(*net.TCPAddr); ok {
		config.Listen = listening.String() // its port may have been chosen by the system
	}
	options, err := serverOptions(config, parts)
	if err != nil {
		return err
	}
	if err := srv.ReloadOptions(options); err != nil {
		return fmt.Errorf("reloading the users of the embedded broker: %w", err)
	}
	return nil
}

// awaitServer returns once the server has recovered every stream whose folder
// lies in the store. One that it did not recover must not be made anew, since
// that would delete its files.
func awaitServer(ctx context.Context, srv *server.Server, log *serverLog, config EmbeddedConfig) error {
	deadline := time.Now().Add(startTimeout)
	for !srv.ReadyForConnections(50 * time.Millisecond) {
		if fault := log.fault(); fault != "" {
			return startError(fault, config)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("starting the embedded broker: not ready after %v", startTimeout)
		}
	}
	if status := srv.Healthz(nil); status.Error != "" {
		return fmt.Errorf("%w: %s: restore %q from a copy, or move it away to start with an empty one",
			ErrStore, status.Error, filepath.Join(config.Dir, "jetstream"))
	}
	return nil
}

// startError says what to do about the sentence that the server gave up with.
func startError(fault string, config EmbeddedConfig) error {
	if listener, err := net.Listen("tcp", config.Listen); errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("starting the embedded broker: %s is in use: choose another address with "+
			"ROOMLINK_BROKER_LISTEN, or \"off\"", config.Listen)
	} else if err == nil {
		_ = listener.Close()
	}
	return fmt.Errorf("%w: %s: check the rights, the space and the files in %q", ErrStore, fault, config.Dir)
}

func setListen(options *server.Options, address string) error {
	if address == "" || address == ListenOff {
		options.DontListen = true
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("reading the broker's address %q: %w", address, err)
	}
	options.Host = host
	if options.Port, err = strconv.Atoi(port); err != nil {
		return fmt.Errorf("reading the broker's address %q: the port is no number", address)
	}
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	return nil
}

// serverLog writes what the server says to our log, and remembers a fatal fault
// instead of ending the process.
type serverLog struct {
	log zerolog.Logger

	mu    sync.Mutex
	fatal string
}

var _ server.Logger = (*serverLog)(nil)

func (l *serverLog) fault() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

// Noticef implements [server.Logger].
func (l *serverLog) Noticef(format string, v ...any) { l.log.Debug().Msgf(format, v...) }

// Warnf implements [server.Logger].
func (l *serverLog) Warnf(format string, v ...any) { l.log.Warn().Msgf(format, v...) }

// Errorf implements [server.Logger].
func (l *serverLog) Errorf(format string, v ...any) { l.log.Error().Msgf(format, v...) }

// Debugf implements [server.Logger].
func (l *serverLog) Debugf(format string, v ...any) { l.log.Trace().Msgf(format, v...) }

// Tracef implements [server.Logger]. The server's trace holds the messages
// themselves, and so tickets.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf implements [server.Logger].
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == "" {
		l.fatal = fmt.Sprintf(format, v...)
	}
}
