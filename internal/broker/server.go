package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"roomlink/internal/secret"
)

// maxStore is more than any disk, in bytes.
const maxStore = 1 << 50

// serverOptions are what the server runs with. parts is the password of the parts
// in this process.
func serverOptions(config EmbeddedConfig, parts secret.String) (*server.Options, error) {
	accounts, err := accountsConfig(config.Dir, config.Accounts, parts)
	if err != nil {
		return nil, err
	}
	options := &server.Options{
		ServerName: "roomlink",
		JetStream:  true,
		StoreDir:   config.Dir,
		// The queue has its own bound, and a disk that is full is told as such. With
		// the server's own guess of what is left, it would refuse to start again on a
		// disk that has filled up since.
		JetStreamMaxStore: maxStore,
		SyncAlways:        config.Sync == 0,
		SyncInterval:      config.Sync,
		MaxPayload:        maxPayload,
		NoSigs:            true,
	}
	if err := options.ProcessConfigString(accounts); err != nil {
		return nil, fmt.Errorf("preparing the users of the embedded broker: %w", err)
	}
	return options, setListen(options, config.Listen)
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
