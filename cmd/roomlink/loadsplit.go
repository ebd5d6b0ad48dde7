package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/load"
	"roomlink/internal/secret"
	"roomlink/internal/store"
)

// Between two kills lies a time from leastCalm to mostCalm.
const (
	leastCalm = time.Second
	mostCalm  = 4 * time.Second
)

// loadParts are the parts of a load test as processes.
type loadParts struct {
	test   *loadTest
	system *loadSystem
	// environment is what all have in common.
	environment []string

	// natsPassword is that of a broker of the test's own.
	natsPassword secret.String
	// Where each part listens.
	brokerAt, auviousAt, webhookAt, webhookOps, workerOps string

	children []*load.Process
	// kills counts them, and severe those that may leave rooms without links.
	kills, severe atomic.Int64
}

// newParts makes ready for parts that are processes.
func (t *loadTest) newParts(s *loadSystem) (*loadParts, error) {
	environment, err := ownEnvironment(t.world)
	if err != nil {
		return nil, err
	}
	p := &loadParts{test: t, system: s, environment: environment, natsPassword: newSecret()}
	s.closers = append(s.closers, p.stop)
	return p, nil
}

// run starts one more part.
func (p *loadParts) run(ctx context.Context, name string, secrets map[string]secret.String, arguments ...string) error {
	part := &load.Process{
		Name: name, Arguments: arguments, Log: p.test.log, Environment: slices.Clone(p.environment),
	}
	for variable, value := range secrets {
		part.Environment = append(part.Environment, variable+"="+value.Reveal())
	}
	if err := part.Start(ctx); err != nil {
		return err
	}
	p.children = append(p.children, part)
	return nil
}

// freeAddresses returns addresses of loopback that were free a moment ago. Their
// ports are none of those that a system gives to connections, so that a part which
// is killed comes back to its own.
func freeAddresses(count int) ([]string, error) {
	const first, ports, attempts = 10_000, 20_000, 1000
	var addresses []string
	var err error
	for range attempts {
		if len(addresses) == count {
			return addresses, nil
		}
		var listener net.Listener
		listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(ports)))
		if err != nil {
			continue
		}
		defer listener.Close() // only once all are chosen
		addresses = append(addresses, listener.Addr().String())
	}
	return nil, fmt.Errorf("looking for free ports: %w", err)
}

// start runs each part as a process, and returns once all are ready.
func (p *loadParts) start(ctx context.Context) error {
	addresses, err := freeAddresses(5)
	if err != nil {
		return err
	}
	p.brokerAt, p.auviousAt, p.webhookAt, p.webhookOps, p.workerOps =
		addresses[0], addresses[1], addresses[2], addresses[3], addresses[4]
	steps := []func(context.Context) error{p.startAuvious, p.startBroker, p.connect, p.startWebhook}
	if p.test.Apart {
		steps = []func(context.Context) error{p.startAuvious, p.startServe, p.connect}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	s := p.system
	s.workers, s.startWorker, s.meanwhile = []string{p.workerOps}, p.startWorker, nil
	if p.test.Chaos {
		s.meanwhile = p.chaos
	}
	s.target.Address, s.target.Usage = p.webhookAt, p.usage
	s.target.Kills = func() int { return int(p.kills.Load()) }
	allowed := s.target.OrphansAllowed
	s.target.OrphansAllowed = func(ctx context.Context) int {
		return allowed(ctx) + int(p.severe.Load())*p.test.Concurrency*p.test.Accounts
	}
	if s.workerLater || p.test.Apart {
		return nil
	}
	return p.startWorker(ctx)
}

// startAuvious runs the simulated auvious, unless another one is given, and writes
// the accounts that call it.
func (p *loadParts) startAuvious(ctx context.Context) error {
	t, a := p.test, &p.system.auvious
	if a.simulated {
		a.url = "http://" + p.auviousAt
		err := p.run(ctx, "auvious", map[string]secret.String{auviousSecret: a.clientSecret},
			"auvious", "--listen="+p.auviousAt, "--latency="+t.FacadeLatency.String(),
			"--fail-rate="+strconv.FormatFloat(float64(t.FacadeErrors), 'g', -1, 64),
			"--fail-status="+strconv.Itoa(t.FacadeStatus), "--log-level="+t.LogLevel)
		if err != nil {
			return err
		}
		if err := p.await(ctx, a.url+"/simulator/stats"); err != nil {
			return err
		}
	}
	return t.writeAccounts(p.system)
}

// startBroker runs a broker, unless an external one is given.
func (p *loadParts) startBroker(ctx context.Context) error {
	if p.test.NatsURL != "" {
		return nil
	}
	store := p.test.brokerDir()
	if err := broker.PrepareDirectory(store); err != nil {
		return err
	}
	return p.run(ctx, "nats", map[string]secret.String{natsPassword: p.natsPassword},
		"load-broker", "--listen="+p.brokerAt, "--store="+store, "--sync="+p.test.Sync.String())
}

// nats are the settings and the password of the broker.
func (p *loadParts) nats() (natsSettings, secret.String, error) {
	if p.test.NatsURL == "" {
		return natsSettings{NatsURL: "nats://" + p.brokerAt, NatsUser: loadBrokerUser}, p.natsPassword, nil
	}
	password, err := p.test.world.secretOf(natsPassword)
	return p.test.nats(), password, err
}

// remote is how the test reaches the broker.
func (p *loadParts) remote() (broker.RemoteConfig, error) {
	if p.test.Apart && p.test.NatsURL == "" {
		return p.operator()
	}
	settings, password, err := p.nats()
	if err != nil {
		return broker.RemoteConfig{}, err
	}
	remote, err := settings.remote(p.test.world)
	remote.Password = password
	return remote, err
}

// connect connects the test itself to the broker.
func (p *loadParts) connect(ctx context.Context) error {
	remote, err := p.remote()
	if err != nil {
		return err
	}
	remote.Logger = zerolog.Nop()
	dialling, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	b, err := broker.Dial(dialling, remote)
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
	s.client = store.New(s.target.JetStream, store.WithGroupCommit())
	return nil
}

// common are the arguments and the secrets of both of our parts.
func (p *loadParts) common(part, operations string) ([]string, map[string]secret.String, error) {
	settings, password, err := p.nats()
	arguments := []string{
		part, "--accounts=" + p.system.accounts, "--ops-listen=" + operations, "--log-level=" + p.test.LogLevel,
		"--nats-url=" + settings.NatsURL, "--replicas=" + strconv.Itoa(p.test.replicas()),
	}
	for flag, value := range map[string]string{
		"--nats-user=": settings.NatsUser, "--nats-creds=": settings.NatsCreds,
		"--nats-ca=": settings.NatsCA, "--nats-cert=": settings.NatsCert, "--nats-key=": settings.NatsKey,
	} {
		if value != "" {
			arguments = append(arguments, flag+value)
		}
	}
	secrets := map[string]secret.String{}
	if password != "" {
		secrets[natsPassword] = password
	}
	return arguments, secrets, err
}

func (p *loadParts) startWebhook(ctx context.Context) error {
	arguments, secrets, err := p.common("webhook", p.webhookOps)
	if err != nil {
		return err
	}
	secrets[linkKey] = newSecret() + newSecret()
	if err := p.run(ctx, "webhook", secrets, append(arguments, "--listen="+p.webhookAt)...); err != nil {
		return err
	}
	return p.await(ctx, "http://"+p.webhookOps+"/readyz")
}

func (p *loadParts) startWorker(ctx context.Context) error {
	arguments, secrets, err := p.common("worker", p.workerOps)
	if err != nil {
		return err
	}
	if err := p.run(ctx, "worker", secrets, arguments...); err != nil {
		return err
	}
	return p.await(ctx, "http://"+p.workerOps+"/readyz")
}

// await waits until an address answers, or a part has ended by itself.
func (p *loadParts) await(ctx context.Context, address string) error {
	return awaitAnswer(ctx, address, p.fault)
}

// fault returns an error if a part has ended by itself.
func (p *loadParts) fault() error {
	var errs []error
	for _, c := range p.children {
		errs = append(errs, c.Fault())
	}
	return errors.Join(errs...)
}

// usage is what each part has used, and we ourselves.
func (p *loadParts) usage() []load.Usage {
	all := []load.Usage{load.Own("load")}
	for _, c := range p.children {
		all = append(all, c.Usage())
	}
	return all
}

// stop stops the parts, the last first.
func (p *loadParts) stop() error {
	var errs []error
	for _, c := range slices.Backward(p.children) {
		errs = append(errs, c.Stop())
	}
	return errors.Join(errs...)
}

// chaos kills parts at random and starts them again, until the context ends. It
// leaves alone what is not ours: auvious, and an external broker.
func (p *loadParts) chaos(ctx context.Context) {
	seed := p.test.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	fmt.Fprintf(p.test.world.stderr, "chaos: --seed=%d\n", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	var victims []*load.Process
	for _, c := range p.children {
		if c.Name != "auvious" {
			victims = append(victims, c)
		}
	}
	for {
		calm := leastCalm + time.Duration(random.Int64N(int64(mostCalm-leastCalm)))
		victim := victims[random.IntN(len(victims))]
		select {
		case <-ctx.Done():
			return
		case <-time.After(calm):
		}
		p.kills.Add(1)
		if victim.Name != "webhook" {
			p.severe.Add(1)
		}
		err := victim.Kill()
		if err == nil {
			err = victim.Start(context.WithoutCancel(ctx))
		}
		if err != nil {
			fmt.Fprintf(p.test.world.stderr, "chaos: %v\n", err)
			return
		}
		fmt.Fprintf(p.test.world.stderr, "chaos: killed %s, and started it again\n", victim.Name)
	}
}

// ownEnvironment is ours without the settings: a test is not to be led to
// somebody's broker by them.
func ownEnvironment(w world) ([]string, error) {
	var commands commandLine
	parser, err := kong.New(&commands)
	if err != nil {
		return nil, err
	}
	settings := map[string]bool{}
	for _, node := range parser.Model.Leaves(false) {
		for _, flag := range node.Flags {
			for _, name := range flag.Envs {
				settings[name] = true
			}
		}
	}
	for _, s := range secretSettings {
		settings[s.name], settings[s.name+"_FILE"] = true, true
	}
	var environment []string
	for _, variable := range w.environ() {
		if name, _, _ := strings.Cut(variable, "="); !settings[name] {
			environment = append(environment, variable)
		}
	}
	return environment, nil
}
