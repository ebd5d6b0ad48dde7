package app

import (
	"context"
	"errors"
	"fmt"
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
)

// openBroker connects to the external broker, or starts the embedded one if embedded is
// not nil, and provisions the streams.
func (a *App) openBroker(settings NATSSettings, streams StreamSettings, embedded *EmbeddedSettings) error {
	var err error
	switch {
	case settings.NATSURL != "":
		a.broker, err = a.dialBroker(settings)
	case embedded == nil:
		return Usagef("ROOMLINK_NATS_URL is missing: this part needs an external broker; only \"roomlink serve\" has its own")
	default:
		a.broker, err = broker.Embed(a.ctx, broker.EmbeddedConfig{
			Dir: embedded.DataDir, Sync: time.Duration(embedded.Sync), Listen: embedded.BrokerListen,
			Accounts: a.accounts.names(), Logger: a.log,
		})
	}
	if err != nil {
		return err
	}
	a.closers = append(a.closers, a.broker.Close)
	a.run(a.broker.Run)
	if a.store, err = a.openStore("messages"); err != nil {
		return err
	}
	if err := a.provision(streams.stream(a.broker.Embedded())); err != nil {
		return err
	}
	a.checkBroker()
	a.accounts.onChange(a.reportRemoved)
	a.accounts.onChange(func(all []accounts.Account) error { return a.broker.SetAccounts(names(all)) })
	return nil
}

func (a *App) dialBroker(settings NATSSettings) (*broker.Broker, error) {
	remote, err := settings.Remote(a.env)
	if err != nil {
		return nil, err
	}
	remote.Logger = a.log
	return broker.Dial(a.ctx, remote)
}

// openStore opens a store on a connection of its own.
func (a *App) openStore(part string) (*store.Store, error) {
	js, err := a.broker.Connect(part)
	if err != nil {
		return nil, err
	}
	var options []store.Option
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
	for {
		attempt, cancel := context.WithTimeout(a.ctx, provisionTimeout)
		err := store.Provision(attempt, a.store.JetStream(), settings)
		cancel()
		slow := errors.Is(err, context.DeadlineExceeded)
		if err == nil || a.broker.Embedded() && !slow || !temporary(err) {
			return err
		}
		a.log.Warn().Err(err).Int64("retry_in_ms", provisionDelay.Milliseconds()).Msg("streams not ready")
		select {
		case <-a.ctx.Done():
			return errors.Join(a.ctx.Err(), err)
		case <-time.After(provisionDelay):
		}
	}
}

// temporary reports whether the broker may accept the same request later.
func temporary(err error) bool {
	if refusal, ok := errors.AsType[*jetstream.APIError](err); ok {
		return refusal.Code == 503
	}
	return !errors.Is(err, nats.ErrPermissionViolation)
}

// checkBroker adds the broker and the streams to the health checks and the metrics.
func (a *App) checkBroker() {
	check := telemetry.Check{Name: "broker", Run: func(context.Context) error { return a.broker.Health() }}
	if a.broker.Embedded() {
		a.live = append(a.live, check)
	} else {
		a.ready = append(a.ready, check)
	}
	a.ready = append(a.ready, telemetry.Check{Name: "streams", Run: func(ctx context.Context) error {
		for _, config := range (store.StreamSettings{}).Streams() {
			if _, err := a.store.StreamState(ctx, config.Name); err != nil {
				return fmt.Errorf("stream %q: %w", config.Name, err)
			}
		}
		return nil
	}})
	a.registry.MustRegister(&telemetry.Queue{Client: a.store, Accounts: a.accounts.names, Logger: a.log})
}

func (a *App) addFeed() *store.Feed {
	feed := store.NewFeed(a.store)
	a.run(func(ctx context.Context) error {
		return feed.Run(ctx, func(err error) { a.log.Warn().Err(err).Msg("watch interrupted") })
	})
	return feed
}
