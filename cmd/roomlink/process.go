package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"roomlink/internal/broker"
	"roomlink/internal/filewatch"
	"roomlink/internal/heap"
	"roomlink/internal/store"
	"roomlink/internal/telemetry"
	"roomlink/internal/web"
)

const (
	// provisionWithin bounds one attempt to provision the streams.
	provisionWithin = 10 * time.Second
	provisionPause  = time.Second
)

// process is a running roomlink: the broker's connection, the parts, and what
// the operator sees of them.
type process struct {
	world    world
	log      zerolog.Logger
	registry *prometheus.Registry
	broker   *broker.Broker
	client   *store.Store
	tenants  *tenants
	// publicURL is the base of our own addresses; "" without public HTTP.
	publicURL string
	// opsAddress is where health and metrics are.
	opsAddress string

	live, ready []telemetry.Check
	// parts run until their context ends. closers run after them, the last first.
	parts   []func(context.Context) error
	closers []func()
	// watched and onChange are the files that are read again, and by whom; seen is
	// what they were.
	watched  []func() []string
	onChange []func()
	seen     filewatch.Snapshot
}

// startProcess has build make everything ready. What it returns is to be run.
func startProcess(
	ctx context.Context, w world, settings logSettings, build func(context.Context, *process) error,
) (*process, error) {
	log, err := telemetry.NewLogger(w.stderr, settings.LogLevel, settings.LogFormat)
	if err != nil {
		return nil, usageError{err}
	}
	p := &process{world: w, log: log, registry: telemetry.NewRegistry(), seen: filewatch.Snapshot{}}
	if err := build(ctx, p); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// runProcess starts a process and runs it until the context ends.
func runProcess(
	ctx context.Context, w world, settings logSettings, build func(context.Context, *process) error,
) error {
	p, err := startProcess(ctx, w, settings, build)
	if err != nil {
		return err
	}
	return p.run(ctx)
}

// run runs the parts until the context ends or the first of them returns, waits
// for all, and closes what they stood on. The first error wins.
func (p *process) run(ctx context.Context) error {
	defer p.close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	for _, part := range append(p.parts, heap.Run) {
		group.Go(func() error {
			defer stop()
			return part(ctx)
		})
	}
	p.log.Info().Str("version", telemetry.Version()).Strs("accounts", p.tenants.names()).Msg("started")
	err := group.Wait()
	p.log.Info().Msg("stopped")
	return err
}

func (p *process) close() {
	for len(p.closers) > 0 {
		last := len(p.closers) - 1
		p.closers[last]()
		p.closers = p.closers[:last]
	}
}

// openBroker connects to the external broker, or starts the embedded one where
// the settings for that are not nil, and sees to the streams.
func (p *process) openBroker(
	ctx context.Context, settings natsSettings, streams streamSettings, embedded *embeddedSettings,
) error {
	var err error
	switch {
	case settings.NatsURL != "":
		p.broker, err = p.dialBroker(ctx, settings)
	case embedded == nil:
		return usagef("ROOMLINK_NATS_URL is needed: this part runs against an external broker; \"roomlink serve\" has its own")
	default:
		p.broker, err = broker.Embed(ctx, broker.EmbeddedConfig{
			Dir: embedded.DataDir, Sync: time.Duration(embedded.Sync), Listen: embedded.BrokerListen,
			Accounts: p.tenants.names(), Logger: p.log,
		})
	}
	if err != nil {
		return err
	}
	p.closers = append(p.closers, p.broker.Close)
	p.parts = append(p.parts, p.broker.Run)
	if p.client, err = p.connect("messages"); err != nil {
		return err
	}
	if err := p.provision(ctx, streams.messages(p.broker.Embedded())); err != nil {
		return err
	}
	p.watchHealth()
	p.tenants.parts = append(p.tenants.parts, p.reportRemoved, func(accounts []account) error {
		return p.broker.SetAccounts(namesOf(accounts))
	})
	return nil
}

// connect opens a connection for a part.
func (p *process) connect(part string) (*store.Store, error) {
	js, err := p.broker.Connect(part)
	if err != nil {
		return nil, err
	}
	var options []store.Option
	if p.broker.SyncsWrites() {
		options = append(options, store.WithGroupCommit())
	}
	if p.broker.Embedded() {
		options = append(options, store.WithSingleServer(), store.WithHealthCheck(p.broker.Trouble))
	}
	client := store.New(js, options...)
	p.closers = append(p.closers, client.Close)
	return client, nil
}

func (p *process) dialBroker(ctx context.Context, settings natsSettings) (*broker.Broker, error) {
	remote, err := settings.remote(p.world)
	if err != nil {
		return nil, err
	}
	remote.Logger = p.log
	return broker.Dial(ctx, remote)
}

// provision sees to the streams, and waits for a broker that is slow, or an
// external one that is not ready to make them.
func (p *process) provision(ctx context.Context, settings store.StreamSettings) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, provisionWithin)
		err := store.Provision(attempt, p.client.JetStream(), settings)
		cancel()
		slow := errors.Is(err, context.DeadlineExceeded) // as on a disk that others keep busy
		if err == nil || p.broker.Embedded() && !slow || !mayPass(err) {
			return err
		}
		p.log.Warn().Err(err).Int64("retry_in_ms", provisionPause.Milliseconds()).Msg("waiting for the streams")
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(provisionPause):
		}
	}
}

// mayPass tells a broker that is not ready yet from one that refuses.
func mayPass(err error) bool {
	var refusal *jetstream.APIError
	return !errors.As(err, &refusal) && !errors.Is(err, nats.ErrPermissionViolation) || refusal != nil && refusal.Code == 503
}

// watchHealth has the operations look at the broker and the streams.
func (p *process) watchHealth() {
	check := telemetry.Check{Name: "broker", Run: func(context.Context) error { return p.broker.Health() }}
	if p.broker.Embedded() {
		p.live = append(p.live, check)
	} else {
		p.ready = append(p.ready, check)
	}
	p.ready = append(p.ready, telemetry.Check{Name: "streams", Run: func(ctx context.Context) error {
		for _, config := range (store.StreamSettings{}).Streams() {
			if _, err := p.client.JetStream().Stream(ctx, config.Name); err != nil {
				return fmt.Errorf("stream %q: %w", config.Name, err)
			}
		}
		return nil
	}})
	p.registry.MustRegister(&telemetry.Queue{Client: p.client, Accounts: p.tenants.names, Logger: p.log})
}

// addFeed adds the watch of links and dead letters.
func (p *process) addFeed() *store.Feed {
	feed := store.NewFeed(p.client)
	p.parts = append(p.parts, func(ctx context.Context) error {
		return feed.Run(ctx, func(err error) { p.log.Warn().Err(err).Msg("watch interrupted") })
	})
	return feed
}

// addOperations adds health, metrics and profiles.
func (p *process) addOperations(settings opsSettings) error {
	token, err := p.world.secretOf(opsToken)
	if err != nil {
		return err
	}
	listener, err := listen("ROOMLINK_OPS_LISTEN", settings.OpsListen)
	if err != nil {
		return err
	}
	p.opsAddress = listener.Addr().String()
	operations := telemetry.Operations{
		Live: p.live, Ready: p.ready, Gatherer: p.registry,
		Open: telemetry.IsLoopback(p.opsAddress), Token: token,
	}
	p.log.Info().Str("address", p.opsAddress).Str("part", "operations").Msg("listening")
	p.parts = append(p.parts, func(ctx context.Context) error {
		return web.Server{Handler: operations.Handler(), Logger: p.log}.Run(ctx, listener)
	})
	return nil
}

func listen(variable, address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	return listener, nil
}
