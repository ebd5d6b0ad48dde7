package rig

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/load"
	"roomlink/internal/secret"
)

// startProcesses starts each part as a process, or "serve" as one, and returns when all are ready.
func (s *system) startProcesses(ctx context.Context) error {
	s.closers = append(s.closers, s.stopProcesses)
	s.startWorker = s.runWorker
	steps := []func(context.Context) error{s.runAuvious, s.runBroker, s.connect, s.runWebhook}
	switch {
	case s.Apart:
		steps = []func(context.Context) error{s.runAuvious, s.runServe, s.connect}
	case !s.workerLater:
		steps = append(steps, s.runWorker)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// run starts a part as a process.
func (s *system) run(ctx context.Context, name string, arguments ...string) error {
	child := &load.Process{Name: name, Arguments: arguments, Log: s.log}
	for _, variable := range s.env.Environ() {
		if name, _, _ := strings.Cut(variable, "="); !s.settings[name] {
			child.Environment = append(child.Environment, variable)
		}
	}
	for name, value := range s.secrets {
		child.Environment = append(child.Environment, name+"="+value.Reveal())
	}
	if err := child.Start(ctx); err != nil {
		return err
	}
	s.children = append(s.children, child)
	return nil
}

// runAuvious starts the simulated auvious, unless another one is given.
func (s *system) runAuvious(ctx context.Context) error {
	if s.AuviousURL != "" {
		return nil
	}
	err := s.run(ctx, "auvious", "auvious", "--listen="+s.auviousAt, "--latency="+s.FacadeLatency.String(),
		"--fail-rate="+strconv.FormatFloat(float64(s.FacadeErrors), 'g', -1, 64),
		"--fail-status="+strconv.Itoa(s.FacadeStatus), "--log-level="+s.LogLevel)
	if err != nil {
		return err
	}
	return s.awaitReady(ctx, s.auvious.URL+"/simulator/stats")
}

// runBroker starts a broker, unless an external one is given.
func (s *system) runBroker(ctx context.Context) error {
	if s.NATSURL != "" {
		return nil
	}
	directory := s.brokerDir()
	if err := broker.PrepareDirectory(directory); err != nil {
		return err
	}
	return s.run(ctx, "nats", "load-broker", "--listen="+s.brokerAt, "--store="+directory, "--sync="+s.Sync.String())
}

// runServe starts "serve", on its embedded broker unless an external one is given.
func (s *system) runServe(ctx context.Context) error {
	return s.runPart(ctx, "serve", s.workerOps, s.serveArguments(s.brokerAt)...)
}

func (s *system) runWebhook(ctx context.Context) error {
	return s.runPart(ctx, "webhook", s.webhookOps, "--listen="+s.target.Address)
}

func (s *system) runWorker(ctx context.Context) error { return s.runPart(ctx, "worker", s.workerOps) }

// runPart starts a part of roomlink and waits until it is ready.
func (s *system) runPart(ctx context.Context, name, operations string, arguments ...string) error {
	arguments = slices.Concat([]string{name}, s.partArguments(operations), arguments)
	if err := s.run(ctx, name, arguments...); err != nil {
		return err
	}
	return s.awaitReady(ctx, "http://"+operations+"/readyz")
}

// connect connects the test itself to the broker of the processes.
func (s *system) connect(ctx context.Context) error {
	remote, err := s.remote()
	if err != nil {
		return err
	}
	remote.Logger = zerolog.Nop()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	b, err := broker.Dial(ctx, remote)
	if err != nil {
		return errors.Join(err, s.fault())
	}
	s.closers = append(s.closers, func() error {
		b.Close()
		return nil
	})
	s.target.JetStream, err = b.Connect(broker.RoleOperator, "load")
	return err
}

// remote returns how the test itself connects to the broker.
func (s *system) remote() (broker.RemoteConfig, error) {
	if s.nats.NATSURL != "" {
		return s.nats.Remote(s.partEnvironment(), broker.RoleOperator)
	}
	password, err := secret.ReadFile(broker.OperatorPassword(s.brokerDir()))
	return broker.RemoteConfig{
		URL: "nats://" + s.brokerAt, Role: broker.RoleOperator,
		Login: broker.Login{User: string(broker.RoleOperator), Password: password},
	}, err
}

// fault returns an error if a process has ended by itself.
func (s *system) fault() error {
	var errs []error
	for _, child := range s.children {
		errs = append(errs, child.Err())
	}
	return errors.Join(errs...)
}

// stopProcesses stops the processes, the last one first.
func (s *system) stopProcesses() error {
	var errs []error
	for _, child := range slices.Backward(s.children) {
		errs = append(errs, child.Stop())
	}
	return errors.Join(errs...)
}
