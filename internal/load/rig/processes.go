package rig

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"

	"roomlink/internal/app"
	"roomlink/internal/broker"
	"roomlink/internal/load"
	"roomlink/internal/secret"
	"roomlink/internal/store"
	"roomlink/internal/web"
)

// processes are the parts of a load test as processes.
type processes struct {
	*rig
	system *system
	// environment is the environment of all of them.
	environment []string
	// natsPassword is the password of the test's own broker.
	natsPassword secret.String
	// The addresses of the parts.
	brokerAt, auviousAt, webhookAt, webhookOps, workerOps string

	children []*load.Process
	// kills counts the kills. severe counts those that may leave orphan rooms.
	kills, severe atomic.Int64
}

// startProcesses starts each part as a process, and returns when all are ready.
func (r *rig) startProcesses(ctx context.Context, s *system) error {
	addresses, err := web.FreeAddresses(5)
	if err != nil {
		return err
	}
	p := &processes{
		rig: r, system: s, environment: r.environment(), natsPassword: newSecret(),
		brokerAt: addresses[0], auviousAt: addresses[1], webhookAt: addresses[2],
		webhookOps: addresses[3], workerOps: addresses[4],
	}
	s.closers = append(s.closers, p.stop)
	steps := []func(context.Context) error{p.startAuvious, p.startBroker, p.connect, p.startWebhook}
	if r.Apart {
		steps = []func(context.Context) error{p.startAuvious, p.startServe, p.connect}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	p.describe()
	if s.workerLater || r.Apart {
		return nil
	}
	return p.startWorker(ctx)
}

// describe tells the test how to reach and measure the processes.
func (p *processes) describe() {
	s := p.system
	s.operations, s.startWorker = []string{p.workerOps}, p.startWorker
	if p.Chaos {
		s.meanwhile = p.chaos
	}
	s.target.Address, s.target.Usage = p.webhookAt, p.usage
	s.target.Kills = func() int { return int(p.kills.Load()) }
	allowed := s.target.OrphansAllowed
	s.target.OrphansAllowed = func(ctx context.Context) int {
		return allowed(ctx) + int(p.severe.Load())*p.Concurrency*p.Accounts
	}
}

// environment returns the environment of this process without the settings.
func (r *rig) environment() []string {
	var kept []string
	for _, variable := range r.env.Environ() {
		if name, _, _ := strings.Cut(variable, "="); !r.settings[name] {
			kept = append(kept, variable)
		}
	}
	return kept
}

// run starts one more process.
func (p *processes) run(ctx context.Context, name string, secrets map[string]secret.String, arguments ...string) error {
	part := &load.Process{Name: name, Arguments: arguments, Log: p.log, Environment: slices.Clone(p.environment)}
	for variable, value := range secrets {
		part.Environment = append(part.Environment, variable+"="+value.Reveal())
	}
	if err := part.Start(ctx); err != nil {
		return err
	}
	p.children = append(p.children, part)
	return nil
}

// startAuvious starts the simulated auvious, unless another one is given, and writes the
// accounts.
func (p *processes) startAuvious(ctx context.Context) error {
	auvious := &p.system.auvious
	if auvious.simulated {
		auvious.url = "http://" + p.auviousAt
		err := p.run(ctx, "auvious", map[string]secret.String{app.AuviousSecret: auvious.clientSecret},
			"auvious", "--listen="+p.auviousAt, "--latency="+p.FacadeLatency.String(),
			"--fail-rate="+strconv.FormatFloat(float64(p.FacadeErrors), 'g', -1, 64),
			"--fail-status="+strconv.Itoa(p.FacadeStatus), "--log-level="+p.LogLevel)
		if err != nil {
			return err
		}
		if err := awaitReady(ctx, auvious.url, "/simulator/stats", p.fault); err != nil {
			return err
		}
	}
	return p.writeAccounts(p.system)
}

// startBroker starts a broker, unless an external one is given.
func (p *processes) startBroker(ctx context.Context) error {
	if p.NATSURL != "" {
		return nil
	}
	directory := p.brokerDir()
	if err := broker.PrepareDirectory(directory); err != nil {
		return err
	}
	return p.run(ctx, "nats", map[string]secret.String{app.NATSPassword: p.natsPassword},
		"load-broker", "--listen="+p.brokerAt, "--store="+directory, "--sync="+p.Sync.String())
}

// startServe starts "serve", on its embedded broker unless an external one is given.
func (p *processes) startServe(ctx context.Context) error {
	arguments, secrets := []string{
		"serve", "--accounts=" + p.system.accounts, "--data-dir=" + p.brokerDir(),
		"--sync=" + p.Sync.String(), "--broker-listen=" + p.brokerAt,
		"--ops-listen=" + p.workerOps, "--log-level=" + p.LogLevel,
	}, map[string]secret.String{}
	if p.NATSURL != "" {
		var err error
		if arguments, secrets, err = p.common("serve", p.workerOps); err != nil {
			return err
		}
	}
	return p.startFront(ctx, "serve", p.workerOps, secrets, arguments)
}

func (p *processes) startWebhook(ctx context.Context) error {
	arguments, secrets, err := p.common("webhook", p.webhookOps)
	if err != nil {
		return err
	}
	return p.startFront(ctx, "webhook", p.webhookOps, secrets, arguments)
}

// startFront starts a part with public HTTP, and waits until it is ready.
func (p *processes) startFront(
	ctx context.Context, name, operations string, secrets map[string]secret.String, arguments []string,
) error {
	secrets[app.LinkKey] = newSecret() + newSecret()
	if err := p.run(ctx, name, secrets, append(arguments, "--listen="+p.webhookAt)...); err != nil {
		return err
	}
	return awaitReady(ctx, "http://"+operations, "/readyz", p.fault)
}

func (p *processes) startWorker(ctx context.Context) error {
	arguments, secrets, err := p.common("worker", p.workerOps)
	if err != nil {
		return err
	}
	if err := p.run(ctx, "worker", secrets, arguments...); err != nil {
		return err
	}
	return awaitReady(ctx, "http://"+p.workerOps, "/readyz", p.fault)
}

// common returns the arguments and secrets that all parts have.
func (p *processes) common(part, operations string) ([]string, map[string]secret.String, error) {
	settings, password, err := p.brokerSettings()
	arguments := []string{
		part, "--accounts=" + p.system.accounts, "--ops-listen=" + operations, "--log-level=" + p.LogLevel,
		"--nats-url=" + settings.NATSURL, "--replicas=" + strconv.Itoa(p.replicas()),
	}
	for flag, value := range map[string]string{
		"--nats-user=": settings.NATSUser, "--nats-creds=": settings.NATSCreds,
		"--nats-ca=": settings.NATSCA, "--nats-cert=": settings.NATSCert, "--nats-key=": settings.NATSKey,
	} {
		if value != "" {
			arguments = append(arguments, flag+value)
		}
	}
	secrets := map[string]secret.String{}
	if password != "" {
		secrets[app.NATSPassword] = password
	}
	return arguments, secrets, err
}

// brokerSettings returns the settings and the password of the broker.
func (p *processes) brokerSettings() (app.NATSSettings, secret.String, error) {
	if p.NATSURL == "" {
		return app.NATSSettings{NATSURL: "nats://" + p.brokerAt, NATSUser: brokerUser}, p.natsPassword, nil
	}
	password, err := p.env.Secret(app.NATSPassword)
	return p.nats(), password, err
}

// remote returns how the test itself connects to the broker.
func (p *processes) remote() (broker.RemoteConfig, error) {
	if p.Apart && p.NATSURL == "" {
		password, err := broker.ReadPassword(p.brokerDir(), broker.OperatorUser)
		return broker.RemoteConfig{
			URL: "nats://" + p.brokerAt, User: broker.OperatorUser, Password: password, Operator: true,
		}, err
	}
	settings, password, err := p.brokerSettings()
	if err != nil {
		return broker.RemoteConfig{}, err
	}
	remote, err := settings.Remote(p.env)
	remote.Password = password
	return remote, err
}

// connect connects the test itself to the broker.
func (p *processes) connect(ctx context.Context) error {
	remote, err := p.remote()
	if err != nil {
		return err
	}
	remote.Logger = zerolog.Nop()
	dialing, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	b, err := broker.Dial(dialing, remote)
	if err != nil {
		return errors.Join(err, p.fault())
	}
	s := p.system
	s.closers = append(s.closers, func() error {
		b.Close()
		return nil
	})
	if s.target.JetStream, err = b.Connect("load"); err != nil {
		return err
	}
	s.store = store.New(s.target.JetStream, store.WithGroupCommit())
	return nil
}

// fault returns an error if a process has ended by itself.
func (p *processes) fault() error {
	var errs []error
	for _, child := range p.children {
		errs = append(errs, child.Err())
	}
	return errors.Join(errs...)
}

// usage returns what each process and the test itself have used.
func (p *processes) usage() []load.Usage {
	all := []load.Usage{load.OwnUsage("load")}
	for _, child := range p.children {
		all = append(all, child.Usage())
	}
	return all
}

// stop stops the processes, the last one first.
func (p *processes) stop() error {
	var errs []error
	for _, child := range slices.Backward(p.children) {
		errs = append(errs, child.Stop())
	}
	return errors.Join(errs...)
}
