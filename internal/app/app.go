// Package app is roomlink as a value: settings in, a running program out, stopped by
// its context. Commands, tests and the load test start the program here.
//
// [Serve] starts the whole program. [Webhook], [Worker] and [Viewer] start one part
// against an external broker. Each returns an [App] whose listeners are bound and whose
// streams exist:
//
//	program, err := app.Serve(ctx, env, settings)
//	if err != nil {
//		return err
//	}
//	return program.Wait() // returns after ctx has ended
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"roomlink/internal/broker"
	"roomlink/internal/filewatch"
	"roomlink/internal/secret"
	"roomlink/internal/store"
	"roomlink/internal/telemetry"
	"roomlink/internal/tracing"
	"roomlink/internal/web"
)

// maxOperators bounds the connections of the operations HTTP.
const maxOperators = 64

// App is a running program.
type App struct {
	env      Environment
	log      zerolog.Logger
	level    *telemetry.Level
	registry *prometheus.Registry
	// labels are the labels of the accounts in the metrics.
	labels telemetry.AccountLabels
	// tracer is nil without tracing.
	tracer *tracing.Tracer
	// reloads says how the last reading of changed files ended, and expiry when the
	// certificates end.
	reloads, expiry *prometheus.GaugeVec

	accounts *accountSet
	// files are the files that the program reads again after a change.
	files  filewatch.Watcher
	broker *broker.Broker
	store  *store.Store
	// provisioner makes streams and consumers.
	provisioner jetstream.JetStream
	keeper      *keeper

	// connections are the metrics of the connections of all HTTP servers.
	connections *web.Metrics

	publicURL string
	// address and token are those of the operations HTTP.
	address string
	token   secret.String
	// handler serves the operations HTTP: first as a program that starts, then with the checks.
	handler atomic.Pointer[http.Handler]
	// progress says how far the start is.
	progress atomic.Pointer[string]
	ready    []telemetry.Check

	// ctx is the context of all parts. The first part to return ends it.
	ctx   context.Context //nolint:containedctx // parts may join later
	stop  context.CancelFunc
	group errgroup.Group
	// closers run after the parts, the last one first.
	closers []func()
}

// start builds a program that answers on its operations HTTP meanwhile. If that fails, it stops
// what runs already.
func start(
	ctx context.Context, env Environment, logs LogSettings, operations OperationsSettings, build func(*App) error,
) (*App, error) {
	log, level, err := telemetry.NewLogger(env.Stderr, logs.LogLevel, logs.LogFormat)
	if err != nil {
		return nil, UsageError{err}
	}
	a := &App{env: env, log: log, level: level, registry: telemetry.NewRegistry()}
	if a.tracer, err = tracing.New(ctx, env.Lookup, telemetry.Version(), log); err != nil {
		return nil, UsageError{err}
	}
	a.closers = append(a.closers, a.tracer.Close)
	a.connections = web.NewMetrics(a.registry)
	a.measureFiles()
	a.ctx, a.stop = context.WithCancel(ctx)
	err = a.serveOperations(operations)
	if err == nil {
		err = build(a)
	}
	if err != nil {
		a.stop()
		// A part that failed meanwhile may be the cause.
		if cause := a.group.Wait(); cause != nil && !errors.Is(err, cause) {
			err = errors.Join(err, cause)
		}
		a.close()
		return nil, err
	}
	a.run(a.files.Run)
	a.showChecks()
	log.Info().Str("version", telemetry.Version()).Strs("accounts", a.accounts.names()).Msg("started")
	return a, nil
}

// reloaded notes how the reading of changed files ended.
func (a *App) reloaded(files string, err error) {
	value := 1.0
	if err != nil {
		value = 0
	}
	a.reloads.WithLabelValues(files).Set(value)
}

// run runs a part until the context ends. If the part returns, all others stop.
func (a *App) run(part func(context.Context) error) {
	a.group.Go(func() error {
		defer a.stop()
		return part(a.ctx)
	})
}

// Wait returns when all parts have stopped. It returns the error of the part that
// stopped first, if any.
func (a *App) Wait() error {
	err := a.group.Wait()
	a.stop()
	a.close()
	a.log.Info().Msg("stopped")
	return err
}

func (a *App) close() {
	for _, closer := range slices.Backward(a.closers) {
		closer()
	}
	a.closers = nil
}

// URL returns the base of the program's own addresses; "" without public HTTP.
func (a *App) URL() string { return a.publicURL }

// OperationsAddress returns the host and port of health checks and metrics.
func (a *App) OperationsAddress() string { return a.address }

// Broker returns the broker.
func (a *App) Broker() *broker.Broker { return a.broker }

// serveOperations serves health checks, metrics and profiles. It comes before all other parts: a
// start may take long, and is alive but not ready meanwhile.
func (a *App) serveOperations(settings OperationsSettings) error {
	token, err := a.env.Secret(OpsToken)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", settings.OpsListen)
	if err != nil {
		return fmt.Errorf("ROOMLINK_OPS_LISTEN: %w", err)
	}
	a.address, a.token = listener.Addr().String(), token
	a.setHandler([]telemetry.Check{{Name: "start", Run: func(context.Context) error {
		if progress := a.progress.Load(); progress != nil {
			return errors.New(*progress)
		}
		return errors.New("the program starts")
	}}})
	a.log.Info().Str("address", a.address).Str("part", "operations").Msg("listening")
	// It outlives the parts: while they stop, it says so.
	ctx, stop := context.WithCancel(context.WithoutCancel(a.ctx))
	ended := make(chan error, 1)
	go func() {
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*a.handler.Load()).ServeHTTP(w, r) })
		ended <- web.Server{
			Handler: handler, Logger: a.log, MaxConnections: web.AllowedConnections(maxOperators), Metrics: a.connections,
		}.Run(ctx, listener)
		close(ended)
	}()
	a.closers = append(a.closers, func() {
		stop()
		for range ended { // until the server has stopped; a part of the program returns its error
		}
	})
	a.run(func(ctx context.Context) error {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	return nil
}

// showChecks makes the operations HTTP show the checks of all parts. They must all be there.
func (a *App) showChecks() { a.setHandler(a.ready) }

func (a *App) setHandler(ready []telemetry.Check) {
	alive := telemetry.Check{Name: "process", Run: func(context.Context) error { return nil }}
	stopping := telemetry.Check{Name: "running", Run: func(context.Context) error {
		if a.ctx.Err() != nil {
			return errors.New("the program stops")
		}
		return nil
	}}
	handler := telemetry.Operations{
		Level: a.level, Logger: a.log, Live: []telemetry.Check{alive}, Ready: append([]telemetry.Check{stopping}, ready...),
		Gatherer: a.registry, Open: web.IsLoopback(a.address), Token: a.token,
	}.Handler()
	a.handler.Store(&handler)
}
