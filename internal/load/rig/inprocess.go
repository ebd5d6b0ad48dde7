package rig

import (
	"context"
	"net"
	"time"

	"github.com/rs/zerolog"

	"roomlink/internal/app"
	"roomlink/internal/broker"
	"roomlink/internal/simulator"
	"roomlink/internal/web"
)

// startInProcess starts the simulated auvious and "serve" in this process.
func (s *system) startInProcess(ctx context.Context) error {
	if s.AuviousURL == "" {
		if err := s.simulateAuvious(ctx); err != nil {
			return err
		}
	}
	var settings app.ServeSettings
	arguments := append(s.partArguments(s.workerOps), s.serveArguments("off")...)
	if err := app.ParseSettings(&settings, arguments...); err != nil {
		return err
	}
	settings.WithoutWorker = s.workerLater
	running, stop := context.WithCancel(ctx)
	late := time.AfterFunc(readyTimeout, stop)
	program, err := app.Serve(running, s.partEnvironment(), settings)
	late.Stop()
	if err != nil {
		stop()
		return err
	}
	s.closers = append(s.closers, func() error {
		stop()
		return program.Wait()
	})
	s.startWorker = func(context.Context) error { return program.AddWorker(settings.Grace) }
	if s.target.JetStream, err = program.Broker().Connect(broker.RoleProvisioner, "load"); err != nil {
		return err
	}
	return s.awaitReady(ctx, "http://"+s.workerOps+"/readyz")
}

// simulated returns the configuration of the simulated auvious.
func (o Options) simulated() simulator.Config {
	return simulator.Config{
		Latency: o.FacadeLatency, KeepRequests: -1,
		Faults: simulator.Faults{Rate: float64(o.FacadeErrors), Status: o.FacadeStatus},
	}
}

// simulateAuvious runs the simulated auvious in this process.
func (s *system) simulateAuvious(ctx context.Context) error {
	simulated, err := simulator.New(s.simulated())
	if err != nil {
		return app.UsageError{Err: err}
	}
	listener, err := net.Listen("tcp", s.auviousAt)
	if err != nil {
		return err
	}
	s.group.Go(func() error { return web.Server{Handler: simulated, Logger: zerolog.Nop()}.Run(ctx, listener) })
	return nil
}
