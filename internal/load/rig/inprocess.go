package rig

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"roomlink/internal/app"
	"roomlink/internal/load"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/internal/web"
)

// startInProcess starts the simulated auvious and "serve" in this process.
func (r *rig) startInProcess(ctx context.Context, s *system) error {
	if s.auvious.simulated {
		if err := r.simulateAuvious(ctx, s); err != nil {
			return err
		}
	}
	if err := r.writeAccounts(s); err != nil {
		return err
	}
	settings, err := r.serveSettings(s)
	if err != nil {
		return err
	}
	env := r.env
	env.Stderr, env.Lookup = r.log, r.lookup()
	running, stop := context.WithCancel(ctx)
	late := time.AfterFunc(readyTimeout, stop)
	program, err := app.Serve(running, env, settings)
	late.Stop()
	if err != nil {
		stop()
		return err
	}
	s.closers = append(s.closers, func() error {
		stop()
		return program.Wait()
	})
	s.operations = []string{program.OperationsAddress()}
	s.startWorker = func(context.Context) error { return program.AddWorker(settings.Grace) }
	js, err := program.Broker().Connect("load")
	if err != nil {
		return err
	}
	s.store = store.New(js, store.WithGroupCommit())
	s.target.JetStream = js
	s.target.Usage = func() []load.Usage { return []load.Usage{load.OwnUsage("all")} }
	s.target.Address = strings.TrimPrefix(program.URL(), "http://")
	return awaitReady(ctx, "http://"+program.OperationsAddress(), "/readyz", func() error { return nil })
}

// simulateAuvious runs the simulated auvious in this process.
func (r *rig) simulateAuvious(ctx context.Context, s *system) error {
	simulated, err := simulator.New(simulator.Config{
		Latency: r.FacadeLatency, KeepRequests: -1,
		Faults: simulator.Faults{Rate: float64(r.FacadeErrors), Status: r.FacadeStatus},
	})
	if err != nil {
		return app.UsageError{Err: err}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.auvious.url = "http://" + listener.Addr().String()
	s.group.Go(func() error { return web.Server{Handler: simulated, Logger: zerolog.Nop()}.Run(ctx, listener) })
	return nil
}

// serveSettings returns the settings of "serve".
func (r *rig) serveSettings(s *system) (app.ServeSettings, error) {
	var settings app.ServeSettings
	err := app.ParseSettings(&settings,
		"--accounts="+s.accounts, "--data-dir="+r.brokerDir(), "--sync="+r.Sync.String(),
		"--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--broker-listen=off", "--log-level="+r.LogLevel)
	settings.NATSSettings, settings.Replicas = r.nats(), r.replicas()
	settings.WithoutWorker = s.workerLater
	return settings, err
}

// lookup returns the secrets of "serve". All others are in files.
func (r *rig) lookup() func(string) (string, bool) {
	key := newSecret() + newSecret()
	return func(name string) (string, bool) {
		switch name {
		case app.LinkKey:
			return key.Reveal(), true
		case app.NATSPassword, app.NATSPassword + "_FILE":
			return r.env.Lookup(name)
		}
		return "", false
	}
}
