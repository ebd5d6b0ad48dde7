package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/store"
	"roomlink/internal/telemetry"
)

const (
	// provisionTimeout bounds one attempt to provision the streams.
	provisionTimeout = 10 * time.Second
	provisionDelay   = time.Second
	// subscribersTimeout bounds one attempt to make the consumers of all subscribers. A failed
	// attempt is repeated after subscribersDelay, a good one after subscribersInterval.
	subscribersTimeout  = time.Minute
	subscribersDelay    = 10 * time.Second
	subscribersInterval = time.Hour
)

// openBroker connects to the external broker with a role, or starts the embedded one if
// embedded is not nil. It provisions the streams.
func (a *App) openBroker(
	settings NATSSettings, streams StreamSettings, embedded *EmbeddedSettings, role broker.Role,
) error {
	var err error
	switch {
	case settings.NATSURL != "":
		a.broker, err = a.dialBroker(settings, role)
	case embedded == nil:
		return errNoBroker
	default:
		a.broker, err = a.embedBroker(embedded)
		role = broker.RoleWebhook
	}
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.broker.Close)
	a.run(a.broker.Run)
	if a.store, err = a.openStore(role); err != nil {
		return err
	}
	a.provisioner = a.store.JetStream()
	if a.broker.Provisions() {
		if a.provisioner, err = a.broker.Connect(broker.RoleProvisioner, "provisioner"); err != nil {
			return err
		}
	}
	if err := a.provision(streams.stream(a.broker.Embedded())); err != nil {
		return err
	}
	if a.broker.Embedded() {
		if err := a.settleLoss(embedded); err != nil {
			return err
		}
	}
	a.keeper = a.newKeeper(a.provisioner, streams.stream(a.broker.Embedded()))
	a.run(a.keeper.run)
	a.checkBroker(role)
	a.accounts.changed = a.reportRemoved
	a.accounts.onChange(func(all []accounts.Account) error { return a.broker.SetSubscribers(subscribers(all)) })
	if a.broker.Embedded() || role == broker.RoleServe || role == broker.RoleWorker {
		a.keepSubscribers()
	}
	return nil
}

// errNoBroker means that a part lacks an external broker.
var errNoBroker = Usagef(
	"ROOMLINK_NATS_URL is missing: this part needs an external broker; only \"roomlink serve\" has its own")

func (a *App) embedBroker(settings *EmbeddedSettings) (*broker.Broker, error) {
	if err := limitEmbedded(a.accounts.all()); err != nil {
		return nil, err
	}
	a.accounts.onChange(limitEmbedded)
	secured, err := a.brokerTLS(settings)
	if err != nil {
		return nil, err
	}
	embedded, err := broker.Embed(a.ctx, broker.EmbeddedConfig{
		Dir: settings.DataDir, Sync: time.Duration(settings.Sync), Listen: settings.BrokerListen, TLS: secured,
		Subscribers: subscribers(a.accounts.all()), Logger: a.log,
		OnProgress: func(progress string) { a.progress.Store(&progress) },
	})
	if err != nil {
		return nil, err
	}
	if err := keepBrokerCertificate(settings.DataDir, secured); err != nil {
		embedded.Close()
		return nil, err
	}
	return embedded, nil
}

// keepSubscribers makes the consumers of the subscribers now, after each change of the accounts,
// and at times.
func (a *App) keepSubscribers() {
	var wanted atomic.Pointer[[]accounts.Account]
	first := a.accounts.all()
	wanted.Store(&first)
	changed := make(chan struct{}, 1)
	a.accounts.onChange(func(all []accounts.Account) error {
		wanted.Store(&all)
		select {
		case changed <- struct{}{}:
		default:
		}
		return nil
	})
	a.run(func(ctx context.Context) error {
		for {
			wait := subscribersInterval
			if err := a.syncSubscribers(ctx, *wanted.Load()); err != nil && ctx.Err() == nil {
				a.log.Warn().Err(err).Int64("retry_in_ms", subscribersDelay.Milliseconds()).Msg("consumers of subscribers not ready")
				wait = subscribersDelay
			}
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
			case <-time.After(wait):
			}
		}
	})
}

func (a *App) syncSubscribers(ctx context.Context, all []accounts.Account) error {
	ctx, cancel := context.WithTimeout(ctx, subscribersTimeout)
	defer cancel()
	return store.SyncSubscribers(ctx, a.provisioner, all, time.Now())
}

// subscribers returns the broker's users for the subscribers of accounts.
func subscribers(all []accounts.Account) []broker.Subscriber {
	var found []broker.Subscriber
	for _, account := range all {
		for _, s := range account.Subscribers {
			found = append(found, broker.Subscriber{
				Account: account.Name, Name: s.Name, Password: s.Password, DeadLetters: s.DeadLetters,
			})
		}
	}
	return found
}

func (a *App) dialBroker(settings NATSSettings, role broker.Role) (*broker.Broker, error) {
	remote, err := settings.Remote(a.env, role)
	if err != nil {
		return nil, err
	}
	remote.Logger = a.log
	return broker.Dial(a.ctx, remote)
}

// openStore opens a store with a role on a connection of its own.
func (a *App) openStore(role broker.Role) (*store.Store, error) {
	js, err := a.broker.Connect(role, string(role))
	if err != nil {
		return nil, err
	}
	options := []store.Option{store.WithExplanation(func(err error) error { return a.broker.Explain(js, err) })}
	if !a.broker.Embedded() && (role == broker.RoleWebhook || role == broker.RoleViewer) {
		options = append(options, store.WithoutDirectGet())
	}
	if a.broker.SyncsWrites() {
		options = append(options, store.WithGroupCommit())
	}
	if a.broker.Embedded() {
		options = append(options, store.WithSingleServer(), store.WithHealthCheck(a.broker.Trouble))
	}
	opened := store.New(js, options...)
	a.closers = append(a.closers, opened.Close)
	return opened, nil
}

// provision provisions the streams. It tries again while an external broker is not
// ready, or while a disk is slow.
func (a *App) provision(settings store.StreamSettings) error {
	var refusal error // of the change that this process may not make
	for {
		attempt, cancel := context.WithTimeout(a.ctx, provisionTimeout)
		err := store.CheckLimits(attempt, a.provisioner, settings, len(a.accounts.names()))
		if err == nil && refusal == nil {
			err = store.Provision(attempt, a.provisioner, settings)
		}
		if errors.Is(err, store.ErrNotPermitted) {
			refusal, err = err, nil
		}
		if err == nil && refusal != nil {
			err = a.acceptStreams(attempt, refusal)
		}
		cancel()
		slow := errors.Is(err, context.DeadlineExceeded)
		if err == nil || a.broker.Embedded() && !slow || !temporary(err) {
			return err
		}
		a.log.Warn().Err(a.store.Explain(err)).Int64("retry_in_ms", provisionDelay.Milliseconds()).Msg("streams not ready")
		select {
		case <-a.ctx.Done():
			return errors.Join(a.ctx.Err(), err)
		case <-time.After(provisionDelay):
		}
	}
}

// errMissing means that a stream is missing and that this process may not make it.
var errMissing = errors.New("streams are missing")

// acceptStreams returns nil if no stream is missing, and otherwise an error that wraps errMissing.
func (a *App) acceptStreams(ctx context.Context, refusal error) error {
	missing, err := store.MissingStreams(ctx, a.store.JetStream())
	switch {
	case err != nil:
		return err
	case len(missing) > 0:
		return fmt.Errorf("%w: %s: run \"roomlink streams apply\", or set ROOMLINK_NATS_PROVISION_USER for a worker",
			errMissing, strings.Join(missing, ", "))
	}
	a.log.Warn().Err(refusal).Msg("the streams stay as they are: run \"roomlink streams apply\" to change them")
	return nil
}

// temporary reports whether the broker may accept the same request later.
func temporary(err error) bool {
	if refusal, ok := errors.AsType[*jetstream.APIError](err); ok {
		return refusal.Code == 503
	}
	return !errors.Is(err, nats.ErrPermissionViolation) && !errors.Is(err, store.ErrLimits)
}

// checkBroker adds the broker and the streams to the readiness checks and the metrics.
func (a *App) checkBroker(role broker.Role) {
	check := telemetry.Check{Name: "broker", Run: func(context.Context) error { return a.broker.Health() }}
	// No restart of the program would help: the broker recovers by itself, or its end is that of the program.
	a.ready = append(a.ready, check, telemetry.Check{Name: "streams", Run: a.keeper.ready})
	reads := a.store
	if a.broker.Embedded() {
		reads = a.keeper.store // its user may list consumers
	}
	a.registry.MustRegister(telemetry.NewQueue(telemetry.QueueConfig{
		Store: reads, Accounts: a.accounts.names, Labels: &a.labels, Connected: a.broker.Connected, Logger: a.log,
		StreamsOnly: !a.broker.Embedded() && (role == broker.RoleViewer || role == broker.RoleWebhook),
	}))
}

func (a *App) addFeed() *store.Feed {
	feed := store.NewFeed(a.store)
	a.run(feed.Run)
	return feed
}
