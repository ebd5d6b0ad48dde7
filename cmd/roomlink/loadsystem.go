package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"roomlink/internal/load"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

const (
	// mostLoadAccounts bounds the accounts of a load test.
	mostLoadAccounts = 1000
	// readyWithin bounds the start of each part; readyPoll is how often it is asked.
	readyWithin = time.Minute
	readyPoll   = 10 * time.Millisecond
	// loadAccount is the account of a load test, or what the names of several begin with.
	loadAccount = "load"
	// simulatedApplication is the application id of the samples.
	simulatedApplication = "simulated-application"
)

// loadSystem is what a load test runs against, and stops in the end.
type loadSystem struct {
	target  load.Target
	auvious loadAuvious
	// accounts is the file with the accounts.
	accounts string
	client   *store.Store
	// workers are where the operations of each worker are.
	workers []string
	// meanwhile runs beside the requests; nil for nothing.
	meanwhile func(context.Context)
	// workerLater leaves the worker out, which startWorker starts then.
	workerLater bool
	startWorker func(context.Context) error

	// group are the parts in this process, which end with stopParts.
	group     errgroup.Group
	stopParts context.CancelFunc
	closers   []func() error
}

// loadAuvious is the auvious of a load test.
type loadAuvious struct {
	url, clientID  string
	clientSecret   secret.String
	applicationID  string
	organizationID string
	// simulated tells whether it has counts to ask for.
	simulated bool
}

// newSystem returns a system of which nothing runs yet. The context is for its
// whole life.
func (t *loadTest) newSystem(ctx context.Context) (*loadSystem, context.Context, error) {
	s := &loadSystem{}
	ctx, s.stopParts = context.WithCancel(context.WithoutCancel(ctx))
	if t.AuviousURL == "" {
		s.auvious = loadAuvious{
			clientID: simulator.DefaultClientID, clientSecret: simulator.DefaultClientSecret,
			applicationID: simulatedApplication, simulated: true,
		}
		return s, ctx, nil
	}
	given, err := t.world.secretOf(auviousSecret)
	s.auvious = loadAuvious{
		url: t.AuviousURL, clientID: t.AuviousClientID, clientSecret: given,
		applicationID: t.AuviousApplicationID, organizationID: t.AuviousOrganizationID,
	}
	return s, ctx, err
}

// openAuvious runs the simulated auvious in this process, unless another one is
// given.
func (s *loadSystem) openAuvious(ctx context.Context, t *loadTest) error {
	if !s.auvious.simulated {
		return nil
	}
	simulated, err := simulator.New(simulator.Config{
		Latency: t.FacadeLatency, KeepRequests: -1,
		Faults: simulator.Faults{Rate: float64(t.FacadeErrors), Status: t.FacadeStatus},
	})
	if err != nil {
		return usageError{err}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.auvious.url = "http://" + listener.Addr().String()
	s.group.Go(func() error { return web.Server{Handler: simulated, Logger: zerolog.Nop()}.Run(ctx, listener) })
	return nil
}

// stop stops everything, the last first, and returns when it has stopped.
func (s *loadSystem) stop() error {
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		errs = append(errs, s.closers[last]())
		s.closers = s.closers[:last]
	}
	s.stopParts()
	return errors.Join(append(errs, s.group.Wait())...)
}

// stats asks the simulated auvious for its counts; nil for another one.
func (a loadAuvious) stats() func(context.Context) (simulator.Stats, error) {
	if !a.simulated {
		return nil
	}
	return func(ctx context.Context) (simulator.Stats, error) {
		var stats simulator.Stats
		body, err := getFrom(ctx, a.url+"/simulator/stats")
		if err == nil {
			err = json.Unmarshal(body, &stats)
		}
		if err != nil {
			return stats, fmt.Errorf("asking the simulated auvious for its counts: %w", err)
		}
		return stats, nil
	}
}

// getFrom asks a part of the test's own.
func getFrom(ctx context.Context, address string) ([]byte, error) {
	status, body, err := call(ctx, http.MethodGet, address, "", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("it answered %d", status)
	}
	return body, err
}

// writeAccounts writes the file of the accounts, which the parts read, and notes
// who posts.
func (t *loadTest) writeAccounts(s *loadSystem) error {
	s.accounts = filepath.Join(t.dir, "accounts.yaml")
	var file accountsFile
	clientSecret := filepath.Join(t.dir, "auvious-secret")
	if err := writePrivate(clientSecret, []byte(s.auvious.clientSecret.Reveal())); err != nil {
		return err
	}
	for i := range t.Accounts {
		name := loadAccount
		if t.Accounts > 1 {
			name += "-" + strconv.Itoa(i+1)
		}
		key := newSecret()
		keyFile := filepath.Join(t.dir, name+"-key")
		if err := writePrivate(keyFile, []byte(key.Reveal())); err != nil {
			return err
		}
		entry := accountEntry{Name: name, Auvious: auviousEntry{
			URL: s.auvious.url, ClientID: s.auvious.clientID, ClientSecretFile: clientSecret,
			ApplicationID: s.auvious.applicationID, OrganizationID: s.auvious.organizationID,
			Concurrency: &t.Concurrency,
		}}
		entry.Talkdesk.APIKeys = append(entry.Talkdesk.APIKeys, struct {
			Name string `yaml:"name"`
			File string `yaml:"file"`
		}{"load", keyFile})
		file.Accounts = append(file.Accounts, entry)
		s.target.Callers = append(s.target.Callers, load.Caller{Account: name, APIKey: key})
	}
	data, err := yaml.Marshal(file)
	if err != nil {
		return err
	}
	return writePrivate(s.accounts, data)
}

// writePrivate writes a file for ourselves that need not survive anything.
func writePrivate(path string, data []byte) error { return os.WriteFile(path, data, 0o600) }

// start starts the whole path, if asked to without its worker, and returns once it
// is ready. It outlives the caller's context, whose end only breaks the start off.
func (t *loadTest) start(caller context.Context, workerLater bool) (*loadSystem, error) {
	s, ctx, err := t.newSystem(caller)
	if err != nil {
		return nil, err
	}
	s.workerLater = workerLater
	s.target.Queue = messages.ConversationsStream
	s.target.Links = load.Outcomes{Stream: messages.LinksStream, Subject: func(account, id string) string {
		return messages.Conversation{Account: account, InteractionID: id}.LinksSubject()
	}}
	s.target.DeadLetters = load.Outcomes{Stream: messages.DeadLettersStream, Subject: func(account, id string) string {
		return messages.Conversation{Account: account, InteractionID: id}.DeadLetterSubject()
	}}
	s.target.Shared = t.NatsURL != ""
	s.target.OrphansAllowed = s.orphansAllowed
	goOn := context.AfterFunc(caller, s.stopParts)
	err = t.startParts(ctx, s)
	if !goOn() {
		err = cmp.Or(err, caller.Err())
	}
	if err != nil {
		_ = s.stop() // it fails for the same reason
		return nil, fmt.Errorf("starting what is to be tested: %w", err)
	}
	s.target.Facade = s.auvious.stats()
	return s, nil
}

// startParts starts the parts, in this process or as others.
func (t *loadTest) startParts(ctx context.Context, s *loadSystem) error {
	if t.Split || t.Apart || t.Chaos {
		parts, err := t.newParts(s)
		if err != nil {
			return err
		}
		return parts.start(ctx)
	}
	if err := s.openAuvious(ctx, t); err != nil {
		return err
	}
	return t.startInProcess(ctx, s)
}

// startInProcess runs what "serve" does in this process.
func (t *loadTest) startInProcess(ctx context.Context, s *loadSystem) error {
	if err := t.writeAccounts(s); err != nil {
		return err
	}
	var serve serveCommand
	if err := parseAlone(&serve, t.serveArguments(s)); err != nil {
		return err
	}
	serve.natsSettings, serve.Replicas = t.nats(), t.replicas()
	serve.workerLater = s.workerLater
	w := t.world
	w.stderr = t.log
	key := newSecret() + newSecret()
	w.lookup = func(name string) (string, bool) {
		switch name {
		case linkKey:
			return key.Reveal(), true
		case natsPassword, natsPassword + "_FILE":
			return t.world.lookup(name)
		}
		return "", false // the rest is in the accounts' file
	}
	starting, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	p, err := startProcess(starting, w, serve.logSettings, serve.build)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	s.group.Go(func() error { return p.run(running) })
	s.closers = append(s.closers, func() error {
		stop()
		return nil
	})
	s.workers = []string{p.opsAddress}
	s.startWorker = func(context.Context) error {
		if err := p.addWorker(serve.Grace); err != nil {
			return err
		}
		s.group.Go(func() error { return p.parts[len(p.parts)-1](running) })
		return nil
	}
	js, err := p.broker.Connect("load")
	if err != nil {
		return err
	}
	s.client = store.New(js, store.WithGroupCommit())
	s.target.JetStream, s.target.Usage = js, ownUsage
	s.target.Address = strings.TrimPrefix(p.publicURL, "http://")
	return awaitAnswer(ctx, "http://"+p.opsAddress+"/readyz", func() error { return nil })
}

// serveArguments are those of a "serve" for the test.
func (t *loadTest) serveArguments(s *loadSystem) []string {
	return []string{
		"--accounts=" + s.accounts, "--data-dir=" + t.brokerDir(), "--sync=" + t.Sync.String(),
		"--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--broker-listen=off", "--log-level=" + t.LogLevel,
	}
}

// nats are the settings of the external broker.
func (t *loadTest) nats() natsSettings {
	if t.NatsURL == "" {
		return natsSettings{}
	}
	return natsSettings{
		NatsURL: t.NatsURL, NatsCreds: t.NatsCreds, NatsUser: t.NatsUser,
		NatsCA: t.NatsCA, NatsCert: t.NatsCert, NatsKey: t.NatsKey,
	}
}

// replicas are those of each stream; 1 on a broker of the test's own.
func (t *loadTest) replicas() int {
	if t.NatsURL == "" {
		return 1
	}
	return t.Replicas
}

// parseAlone has a command take its settings from arguments and defaults, and none
// from the environment: a test is not to be led to somebody's broker by it.
func parseAlone(command any, arguments []string) error {
	parser, err := kong.New(command)
	if err != nil {
		return err
	}
	for _, flag := range parser.Model.Flags {
		flag.Envs, flag.Tag.Envs = nil, nil
	}
	_, err = parser.Parse(arguments)
	return err
}

// awaitAnswer waits until an address answers 200, or alive says that it will not.
func awaitAnswer(ctx context.Context, address string, alive func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		_, err := getFrom(ctx, address)
		if err == nil {
			return nil
		}
		if fault := alive(); fault != nil {
			return fault
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until the parts are ready: %w", err)
		case <-ticker.C:
		}
	}
}

// orphansAllowed adds up the rooms that the workers say they may have left.
func (s *loadSystem) orphansAllowed(ctx context.Context) int {
	allowed := 0.0
	for _, operations := range s.workers {
		body, err := getFrom(ctx, "http://"+operations+"/metrics")
		if err != nil {
			continue // a part that has gone explains nothing
		}
		allowed += sumMetric(strings.NewReader(string(body)), "roomlink_orphans_possible_total")
	}
	return int(allowed)
}

// sumMetric adds up the series of a metric.
func sumMetric(text io.Reader, name string) float64 {
	sum := 0.0
	scanner := bufio.NewScanner(text)
	for scanner.Scan() {
		line := scanner.Text()
		if series, value, ok := strings.Cut(line, " "); ok && strings.HasPrefix(series, name) {
			number, _ := strconv.ParseFloat(value, 64) // 0 for what is none
			sum += number
		}
	}
	return sum
}
