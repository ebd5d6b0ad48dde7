// Package broker connects the parts of roomlink to NATS JetStream: to a server
// inside the process by default, [Embed], or to an external one, [Dial]. What
// comes after is the same for both, a [Broker].
//
// It guarantees that no publish is kept in a buffer while the broker is out of
// reach (a publish fails at once instead, and the caller says so to Talkdesk),
// that a server which is frozen, or cut off from its cluster, is left for another,
// that the replies to our own requests reach nobody else, and that an embedded
// server has closed its store when [Broker.Close] returns.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/secret"
)

// The inbox prefixes of our own connections. With NATS' common prefix, whoever
// may receive replies could listen to ours.
const (
	partsInbox    = "_INBOX_ROOMLINK"
	operatorInbox = "_INBOX_OPERATOR"
)

const (
	connectTimeout = 1500 * time.Millisecond
	writeTimeout   = time.Second
	flushTimeout   = time.Second
	// A server that is frozen keeps its connections and answers nothing; after this
	// long, thrice, we go to another one. One that is cut off from its cluster does
	// answer: that is for the lookout.
	pingInterval = 3 * time.Second
	firstBackoff = 250 * time.Millisecond
	lastBackoff  = 10 * time.Second
)

// ErrUnhealthy says that the broker is there and cannot be relied on.
var ErrUnhealthy = errors.New("the broker is not healthy")

// Broker is a NATS server with JetStream, in this process or elsewhere.
type Broker struct {
	log     zerolog.Logger
	options []nats.Option
	url     string
	// embedded is nil for an external broker.
	embedded *embedded
	// syncs says that each write waits for the disk.
	syncs bool

	mu    sync.Mutex
	conns []*nats.Conn

	// ctx is that of the lookouts, which stop ends and looking waits for. There are
	// none for an embedded broker.
	ctx     context.Context //nolint:containedctx // of the background tasks
	stop    context.CancelFunc
	looking sync.WaitGroup
}

// Connect opens a connection for a part, which the broker closes with itself.
// Its errors are those of NATS.
func (b *Broker) Connect(part string) (jetstream.JetStream, error) {
	nc, err := b.connect(part)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = append(b.conns, nc)
	if b.embedded == nil {
		lookout := newLookout(js, b.log.With().Str("connection", part).Logger())
		b.looking.Go(func() { lookout.run(b.ctx) })
	}
	return js, nil
}

func (b *Broker) connect(part string) (*nats.Conn, error) {
	log := b.log.With().Str("connection", part).Logger()
	options := append([]nats.Option{
		nats.Name("roomlink " + part),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(firstBackoff),
		nats.ReconnectBufSize(-1),
		// The client writes while it holds its lock, and a caller waits for that lock
		// whatever its context says: so no write may take long.
		nats.FlusherTimeout(writeTimeout),
		nats.ReconnectOnFlusherError(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
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
	}, b.options...)
	nc, err := nats.Connect(b.url, options...)
	if err != nil {
		return nil, fmt.Errorf("connecting to the broker: %w", err)
	}
	return nc, nil
}

// Health returns nil, or an error that wraps [ErrUnhealthy] and says what is
// wrong: with the embedded server's streams and store, or with the connections.
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

// Trouble returns nil, or an error that wraps [ErrUnhealthy] and says what was wrong
// with the embedded server's store when [Broker.Run] last looked at it, at most some
// seconds ago. Unlike [Broker.Health] it costs nothing.
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

// SyncsWrites reports whether each write waits for the disk, so that storing in
// groups pays. An external broker does not say, and is taken to do so.
func (b *Broker) SyncsWrites() bool { return b.syncs }

// SetAccounts replaces the accounts that a subscriber of the embedded server may
// read. An external broker has its own users, and nothing changes.
func (b *Broker) SetAccounts(accounts []string) error {
	if b.embedded == nil {
		return nil
	}
	return b.embedded.setAccounts(accounts)
}

// Address is where others reach the broker, without credentials; "" if nowhere.
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

// Close closes the connections, then the embedded server, and returns when its
// store is closed. It may be called twice.
func (b *Broker) Close() {
	b.mu.Lock()
	conns := b.conns
	b.conns = nil
	b.mu.Unlock()
	if b.embedded == nil {
		b.stop()
		b.looking.Wait()
	}
	for _, nc := range conns {
		_ = nc.FlushTimeout(flushTimeout) // acknowledgements on their way
		nc.Close()
	}
	if b.embedded != nil {
		b.embedded.close()
	}
}

// RemoteConfig says how to reach an external broker.
type RemoteConfig struct {
	// URL of the servers, with commas between several.
	URL string
	// CredentialsFile is a NATS .creds file; "" for none.
	CredentialsFile string
	// User and Password; "" for none.
	User     string
	Password secret.String
	// CAFile, CertFile and KeyFile are PEM files; "" for the system's authorities
	// and for no client certificate.
	CAFile, CertFile, KeyFile string
	// Operator chooses the inbox of our own commands, whose user may be another
	// than that of the parts.
	Operator bool
	Logger   zerolog.Logger
}

// Dial waits until an external broker can be reached and returns it. It logs a
// line for each attempt, ever further apart. It returns the context's error with
// the last attempt's, and at once an error for a file that cannot be read.
func Dial(ctx context.Context, config RemoteConfig) (*Broker, error) {
	for _, file := range []string{config.CredentialsFile, config.CAFile, config.CertFile, config.KeyFile} {
		if file == "" {
			continue
		}
		// NATS reads it when a server asks, and then would be waited for.
		if _, err := os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("reading the broker's credentials: %w", err)
		}
	}
	b := &Broker{log: config.Logger, url: config.URL, options: []nats.Option{nats.CustomInboxPrefix(partsInbox)}, syncs: true}
	if config.Operator {
		b.options = []nats.Option{nats.CustomInboxPrefix(operatorInbox)}
	}
	if config.CredentialsFile != "" {
		b.options = append(b.options, nats.UserCredentials(config.CredentialsFile))
	}
	if config.User != "" {
		b.options = append(b.options, nats.UserInfo(config.User, config.Password.Reveal()))
	}
	if config.CAFile != "" {
		b.options = append(b.options, nats.RootCAs(config.CAFile))
	}
	if config.CertFile != "" {
		b.options = append(b.options, nats.ClientCert(config.CertFile, config.KeyFile))
	}
	if err := b.await(ctx); err != nil {
		return nil, err
	}
	b.ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	return b, nil
}

// await tries to connect until that works or the context ends.
func (b *Broker) await(ctx context.Context) error {
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		nc, err := b.connect("start")
		if err == nil {
			nc.Close()
			return nil
		}
		if asked, ok := errors.AsType[*url.Error](err); ok {
			// The error quotes the address, and so a password.
			return fmt.Errorf("reading the broker's address %q: %w", withoutCredentials(b.url), asked.Err)
		}
		if !worthWaiting(err) {
			return err
		}
		b.log.Warn().Err(err).Int64("retry_in_ms", backoff.Milliseconds()).
			Str("server", withoutCredentials(b.url)).Msg("waiting for the broker")
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(backoff):
		}
	}
}

// worthWaiting tells a broker that is not there yet from one that will refuse us
// tomorrow too.
func worthWaiting(err error) bool {
	return !errors.Is(err, nats.ErrAuthorization) && !errors.Is(err, nats.ErrInvalidArg)
}

// withoutCredentials removes user and password from a list of server addresses,
// be they well-formed or not.
func withoutCredentials(list string) string {
	servers := strings.Split(list, ",")
	for i, server := range servers {
		scheme := ""
		if end := strings.Index(server, "://"); end >= 0 {
			scheme = server[:end+len("://")]
		}
		servers[i] = scheme + server[max(len(scheme), strings.LastIndexByte(server, '@')+1):]
	}
	return strings.Join(servers, ",")
}
