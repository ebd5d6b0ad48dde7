package rig

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"roomlink/internal/accounts"
	"roomlink/internal/app"
	"roomlink/internal/load"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/talkdesk"
	"roomlink/internal/web"
)

const (
	// readyTimeout bounds the start of each part. readyInterval is the interval between two looks at it.
	readyTimeout  = time.Minute
	readyInterval = 10 * time.Millisecond
	// accountName is the name of the account, or the beginning of the names of several.
	accountName = "load"
	// simulatedApplication is the application id of the samples.
	simulatedApplication = "simulated-application"
)

// system is what a load test measures.
type system struct {
	*rig
	target  load.Target
	auvious accounts.Auvious
	// nats are the settings of the external broker, or of the test's own broker. Without an URL, "serve" embeds
	// one.
	nats app.NATSSettings
	// secrets are the secrets of the parts by their variables. All others are in files.
	secrets map[string]secret.String
	// The addresses of the parts. workerOps is also that of "serve".
	brokerAt, auviousAt, webhookOps, workerOps string
	// workerLater leaves the worker out until startWorker.
	workerLater bool
	startWorker func(context.Context) error

	// group has the parts in this process. stopParts stops them. children are the parts as processes.
	group     errgroup.Group
	stopParts context.CancelFunc
	children  []*load.Process
	closers   []func() error
	// kills counts the killed processes. severeKills counts those that may leave orphan rooms.
	kills, severeKills int
}

// start starts the system and returns when it is ready. With workerLater it leaves out the worker. The system
// outlives the caller's context; the end of that context only breaks off the start.
func (r *rig) start(caller context.Context, workerLater bool) (*system, error) {
	s := &system{rig: r, workerLater: workerLater}
	ctx, stopParts := context.WithCancel(context.WithoutCancel(caller))
	s.stopParts = stopParts
	completed := context.AfterFunc(caller, stopParts)
	err := s.startParts(ctx)
	if !completed() {
		err = cmp.Or(err, caller.Err())
	}
	if err != nil {
		_ = s.stop() // it fails for the same reason
		return nil, fmt.Errorf("starting the system under test: %w", err)
	}
	return s, nil
}

// startParts starts the parts in this process, or as processes.
func (s *system) startParts(ctx context.Context) error {
	at, err := web.FreeAddresses(5)
	if err != nil {
		return err
	}
	s.brokerAt, s.auviousAt, s.webhookOps, s.workerOps = at[0], at[1], at[2], at[3]
	s.target = load.Target{
		Address: at[4], Shared: s.NATSURL != "", Usage: s.usage, OrphansAllowed: s.orphansAllowed,
	}
	if err := s.prepareBroker(); err != nil {
		return err
	}
	if err := s.prepareAuvious(); err != nil {
		return err
	}
	if err := s.writeAccounts(); err != nil {
		return err
	}
	if s.Split || s.Apart || s.Chaos {
		return s.startProcesses(ctx)
	}
	return s.startInProcess(ctx)
}

// prepareBroker sets how the parts reach their broker, and their secrets.
func (s *system) prepareBroker() (err error) {
	s.nats = app.NATSSettings(s.NATS)
	s.secrets = map[string]secret.String{app.LinkKey: newSecret() + newSecret()}
	switch {
	case s.NATSURL != "":
		s.secrets[app.NATSPassword], err = s.env.Secret(app.NATSPassword)
	case !s.Apart && (s.Split || s.Chaos):
		s.nats = app.NATSSettings{NATSURL: "nats://" + s.brokerAt, NATSUser: brokerUser}
		s.secrets[app.NATSPassword] = newSecret()
	}
	return err
}

// prepareAuvious sets how to call the simulated auvious, or the given one.
func (s *system) prepareAuvious() (err error) {
	s.auvious = accounts.Default(accountName).Auvious
	s.auvious.Concurrency = s.Concurrency
	if s.AuviousURL == "" {
		s.auvious.URL, s.auvious.ApplicationID = "http://"+s.auviousAt, simulatedApplication
		s.auvious.ClientID, s.auvious.ClientSecret = simulator.DefaultClientID, simulator.DefaultClientSecret
		s.target.Facade = s.stats
		return nil
	}
	s.auvious.URL, s.auvious.ApplicationID = s.AuviousURL, s.AuviousApplicationID
	s.auvious.ClientID, s.auvious.OrganizationID = s.AuviousClientID, s.AuviousOrganizationID
	s.auvious.ClientSecret, err = s.env.Secret(app.AuviousSecret)
	return err
}

// writeAccounts writes the accounts file of the parts, and records the callers.
func (s *system) writeAccounts() (err error) {
	if s.auvious.ClientSecretFile, err = s.writeSecret("auvious-secret", s.auvious.ClientSecret); err != nil {
		return err
	}
	var file accounts.File
	for i := range s.Accounts {
		one := accounts.Account{Name: accountName, Auvious: s.auvious}
		if s.Accounts > 1 {
			one.Name += "-" + strconv.Itoa(i+1)
		}
		key := newSecret()
		path, err := s.writeSecret(one.Name+"-key", key)
		if err != nil {
			return err
		}
		one.Talkdesk.APIKeys = []accounts.APIKey{{Name: "load", File: path}}
		file.Accounts = append(file.Accounts, one)
		s.target.Callers = append(s.target.Callers, load.Caller{Account: one.Name, APIKey: key})
	}
	data, err := yaml.Marshal(file)
	if err != nil {
		return err
	}
	return os.WriteFile(s.accountsFile(), data, 0o600)
}

func (s *system) accountsFile() string { return filepath.Join(s.dir, "accounts.yaml") }

func newSecret() secret.String { return secret.String(rand.Text()) }

// writeSecret writes a secret that need not survive a crash. It returns the path of its file.
func (s *system) writeSecret(name string, value secret.String) (string, error) {
	path := filepath.Join(s.dir, name)
	return path, os.WriteFile(path, []byte(value.Reveal()), 0o600)
}

// partArguments returns the arguments that webhook, worker and serve share.
func (s *system) partArguments(operations string) []string {
	return []string{
		"--accounts=" + s.accountsFile(), "--ops-listen=" + operations, "--log-level=" + s.LogLevel,
		"--replicas=" + strconv.Itoa(s.Replicas), "--nats-url=" + s.nats.NATSURL, "--nats-user=" + s.nats.NATSUser,
		"--nats-creds=" + s.nats.NATSCreds, "--nats-ca=" + s.nats.NATSCA,
		"--nats-cert=" + s.nats.NATSCert, "--nats-key=" + s.nats.NATSKey, "--nats-domain=" + s.nats.NATSDomain,
	}
}

// serveArguments returns the arguments that only serve has.
func (s *system) serveArguments(brokerListen string) []string {
	return []string{
		"--listen=" + s.target.Address, "--data-dir=" + s.brokerDir(), "--sync=" + s.Sync.String(),
		"--broker-listen=" + brokerListen,
	}
}

// partEnvironment returns the environment of parts in this process.
func (s *system) partEnvironment() app.Environment {
	env := s.env
	env.Stderr = s.log
	env.Lookup = func(name string) (string, bool) {
		value, ok := s.secrets[name]
		return value.Reveal(), ok
	}
	return env
}

// stop stops everything, the last one first.
func (s *system) stop() error {
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		errs = append(errs, s.closers[last]())
		s.closers = s.closers[:last]
	}
	s.stopParts()
	return errors.Join(append(errs, s.group.Wait())...)
}

// usage returns what the test itself and each process have used.
func (s *system) usage() []load.Part {
	if len(s.children) == 0 {
		return []load.Part{load.OwnUsage("all")}
	}
	all := []load.Part{load.OwnUsage("load")}
	for _, child := range s.children {
		all = append(all, child.Usage())
	}
	return all
}

// stats asks the simulated auvious for its counts.
func (s *system) stats(ctx context.Context) (simulator.Stats, error) {
	var stats simulator.Stats
	body, err := get(ctx, s.auvious.URL+"/simulator/stats")
	if err == nil {
		err = json.Unmarshal(body, &stats)
	}
	if err != nil {
		return stats, fmt.Errorf("asking the simulated auvious for its counts: %w", err)
	}
	return stats, nil
}

// get asks one of the system's own parts.
func get(ctx context.Context, url string) ([]byte, error) {
	status, body, err := talkdesk.Client{URL: url}.Get(ctx, "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	return body, err
}

// awaitReady waits until a URL answers 200. It returns an error as soon as a process has ended.
func (s *system) awaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		_, err := get(ctx, url)
		if err == nil {
			return nil
		}
		if fault := s.fault(); fault != nil {
			return fault
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until the parts are ready: %w", err)
		case <-time.After(readyInterval):
		}
	}
}

// orphansAllowed returns the number of orphan rooms that the workers report as possible, and that kills explain.
func (s *system) orphansAllowed(ctx context.Context) int {
	allowed := float64(s.severeKills * s.Concurrency * s.Accounts)
	body, err := get(ctx, "http://"+s.workerOps+"/metrics")
	if err != nil {
		return int(allowed) // a part that has gone explains nothing
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return int(allowed)
	}
	for _, series := range families["roomlink_orphans_possible_total"].GetMetric() {
		allowed += series.GetCounter().GetValue()
	}
	return int(allowed)
}
