package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"
)

// maxStore is larger than any disk, in bytes.
const maxStore = 1 << 50

// serverOptions returns the options of the server. parts are the passwords of the parts.
func serverOptions(config EmbeddedConfig, parts *partPasswords) (*server.Options, error) {
	options := &server.Options{
		ServerName: "roomlink",
		JetStream:  true,
		StoreDir:   config.Dir,
		// The queue has its own bound. By default the server bounds the store by the free
		// space, and then refuses to restart on a disk that has filled up.
		JetStreamMaxStore: maxStore,
		SyncAlways:        config.Sync == 0,
		SyncInterval:      config.Sync,
		MaxPayload:        maxPayload,
		NoSigs:            true,
		TLSConfig:         config.TLS, // connections of this process stay plain
		// By default a stream has at most 1,000 consumers. The queue has one for each account.
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: -1},
	}
	if err := addUsers(options, config.Dir, parts, config.Subscribers); err != nil {
		return nil, err
	}
	return options, setListen(options, config.Listen)
}

// waitForStore waits until the server has recovered every stream in the store. Provisioning
// would delete the files of a stream that is not recovered.
func waitForStore(ctx context.Context, srv *server.Server, log *serverLog, config EmbeddedConfig) error {
	deadline := time.Now().Add(startTimeout)
	for !srv.ReadyForConnections(50 * time.Millisecond) {
		if fault := log.fatal.Load(); fault != nil {
			return startError(*fault, config)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("starting the embedded broker: not ready after %v", startTimeout)
		}
	}
	status := srv.Healthz(nil)
	// On a busy machine the server may not reach its own listener in time. That says nothing about the store.
	// After a kill it may still delete the folder of a deleted stream, whose name begins with a dot.
	for (strings.Contains(status.Error, "ready for connections") || strings.Contains(status.Error, " > .")) &&
		time.Now().Before(deadline) && ctx.Err() == nil {
		status = srv.Healthz(nil)
	}
	if status.Error != "" {
		return fmt.Errorf("%w: %s: restore %q from a copy, or move it away to start with an empty one",
			ErrStore, status.Error, filepath.Join(config.Dir, "jetstream"))
	}
	return nil
}

// startError adds what to do to the server's fatal error.
func startError(fault string, config EmbeddedConfig) error {
	if listener, err := net.Listen("tcp", config.Listen); errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("starting the embedded broker: %s is in use: choose another address with "+
			"ROOMLINK_BROKER_LISTEN, or \"off\"", config.Listen)
	} else if err == nil {
		_ = listener.Close()
	}
	return fmt.Errorf("%w: %s: check the permissions, the free space and the files in %q", ErrStore, fault, config.Dir)
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
		return fmt.Errorf("reading the broker's address %q: the port is not a number", address)
	}
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	return nil
}

// serverLog passes the server's log lines to our log. It keeps the first fatal error and does
// not end the process.
type serverLog struct {
	log   zerolog.Logger
	fatal atomic.Pointer[string]

	mu sync.Mutex
	// recovering are the streams that the server recovers.
	recovering []string
}

var _ server.Logger = (*serverLog)(nil)

// Noticef implements [server.Logger].
func (l *serverLog) Noticef(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case strings.Contains(format, "Starting restore for stream '%s > %s'"):
		l.recovering = append(l.recovering, fmt.Sprint(v[1]))
	case strings.Contains(format, "Restored %s messages for stream '%s > %s'"):
		l.recovering = slices.DeleteFunc(l.recovering, func(stream string) bool { return stream == fmt.Sprint(v[2]) })
	}
	l.log.Debug().Msgf(format, v...)
}

// recovers returns the streams that the server recovers at the moment.
func (l *serverLog) recovers() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.recovering)
}

// Warnf implements [server.Logger].
func (l *serverLog) Warnf(format string, v ...any) { l.log.Warn().Msgf(format, v...) }

// Errorf implements [server.Logger].
func (l *serverLog) Errorf(format string, v ...any) { l.log.Error().Msgf(format, v...) }

// Debugf implements [server.Logger].
func (l *serverLog) Debugf(format string, v ...any) { l.log.Trace().Msgf(format, v...) }

// Tracef implements [server.Logger]. It drops the line, because the server's trace contains
// messages and so tickets.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf implements [server.Logger].
func (l *serverLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &text)
}
