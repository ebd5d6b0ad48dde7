// Package rig sets up what a load test needs: a simulated auvious, a broker, the parts
// of roomlink in this process or as processes of their own, and accounts. It runs the
// test of package load on them.
package rig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"roomlink/internal/app"
	"roomlink/internal/load"
	"roomlink/internal/simulator"
)

// Options configure a load test.
type Options struct {
	load.Attack

	Accounts   int           `default:"1" help:"The number of accounts. The conversations belong to them in turn."`
	AcceptOnly bool          `help:"Measure acceptance alone: the worker starts after the last request."`
	Drain      int           `default:"0" help:"The number of events that wait before the worker starts. The test measures how long they take. It replaces the duration."`
	Preload    int           `name:"preload-links" default:"0" help:"The number of other conversations' links to store before the test."`
	Settle     time.Duration `default:"60s" help:"The time to wait, after the requests, for the next links of waiting events."`

	FacadeLatency simulator.Latency `default:"0s" help:"The latency of the simulated auvious: 50ms, uniform:20ms,80ms or lognormal:50ms,0.5."`
	FacadeErrors  load.Share        `default:"0%" help:"The share of its calls that fail, such as 2%."`
	FacadeStatus  int               `default:"503" help:"The HTTP status of its failures."`
	AuviousURL    string            `name:"auvious-url" help:"The URL of another auvious than the simulated one. It makes real rooms. The credentials are those of the settings."`
	Concurrency   int               `default:"64" help:"Maximum concurrent calls to auvious for an account."`

	Sync     app.SyncInterval `default:"always" help:"When the embedded broker syncs its store to the disk: \"always\" or an interval."`
	DataDir  string           `type:"path" help:"The directory of the broker's store, on the disk to measure. The default is a temporary directory."`
	Replicas int              `default:"1" help:"Replicas of each stream on the external broker."`
	Split    bool             `help:"Run each part as a process of its own."`
	Apart    bool             `help:"Run \"roomlink serve\" as a process of its own, so that the test measures it alone."`
	Chaos    bool             `help:"Kill the parts at random during the requests, and start them again. Each is a process of its own."`
	Seed     uint64           `default:"0" help:"The seed of the random kills; 0 for a new one."`

	LogLevel string `default:"info" enum:"trace,debug,info,warn,error" help:"The lowest level of the parts' logged lines: ${enum}."`
	LogFile  string `type:"path" help:"The file for the parts' logged lines. By default they go to the null device, so that logging costs what it costs elsewhere."`

	NATS

	AuviousClientID       string `name:"auvious-client-id" env:"ROOMLINK_AUVIOUS_CLIENT_ID" help:"The client id for --auvious-url."`
	AuviousApplicationID  string `name:"auvious-application-id" env:"ROOMLINK_AUVIOUS_APPLICATION_ID" help:"The application id for --auvious-url."`
	AuviousOrganizationID string `name:"auvious-organization-id" env:"ROOMLINK_AUVIOUS_ORGANIZATION_ID" help:"The organization id for --auvious-url."`
}

// NATS configures an external broker. It has the fields of [app.NATSSettings]. No variable sets the URL, so that
// ROOMLINK_NATS_URL does not lead a test to somebody's broker.
type NATS struct {
	NATSURL   string `name:"nats-url" help:"The URL of an external broker."`
	NATSCreds string `name:"nats-creds" env:"ROOMLINK_NATS_CREDS" help:"A NATS credentials file for --nats-url."`
	NATSUser  string `name:"nats-user" env:"ROOMLINK_NATS_USER" help:"The user for --nats-url."`

	NATSProvisionUser  string `name:"nats-provision-user" env:"ROOMLINK_NATS_PROVISION_USER" help:"The user that makes streams and consumers at --nats-url."`
	NATSProvisionCreds string `name:"nats-provision-creds" env:"ROOMLINK_NATS_PROVISION_CREDS" help:"The credentials file of that user."`

	NATSCA   string `name:"nats-ca" env:"ROOMLINK_NATS_CA" help:"The certificate authorities for --nats-url (PEM)."`
	NATSCert string `name:"nats-cert" env:"ROOMLINK_NATS_CERT" help:"The client certificate for --nats-url (PEM)."`
	NATSKey  string `name:"nats-key" env:"ROOMLINK_NATS_KEY" help:"The key of the client certificate (PEM)."`

	NATSDomain string `name:"nats-domain" env:"ROOMLINK_NATS_DOMAIN" help:"The JetStream domain of the streams behind --nats-url."`
}

// maxAccounts bounds the accounts of a test.
const maxAccounts = 1000

// Check returns an [app.UsageError] for options that do not fit together.
func (o Options) Check() error {
	switch {
	case o.Accounts < 1 || o.Accounts > maxAccounts:
		return app.Usagef("--accounts must be from 1 to %d", maxAccounts)
	case o.Concurrency < 1:
		return app.Usagef("--concurrency must be at least 1")
	case o.Drain < 0 || o.Preload < 0:
		return app.Usagef("--drain and --preload-links must not be negative")
	case o.AuviousURL != "" && o.AuviousClientID == "":
		return app.Usagef("--auvious-url needs ROOMLINK_AUVIOUS_CLIENT_ID and %s", app.AuviousSecret)
	case o.Apart && (o.Split || o.AcceptOnly || o.Drain > 0):
		return app.Usagef("--apart runs all parts together: it excludes --split, --accept-only and --drain")
	}
	if err := o.Attack.Check(); err != nil {
		return app.UsageError{Err: err}
	}
	if _, err := simulator.New(o.simulated()); o.AuviousURL == "" && err != nil {
		return app.UsageError{Err: err}
	}
	return nil
}

// rig is a load test in progress.
type rig struct {
	Options
	env app.Environment
	// settings are the names of the environment variables that children must not see.
	settings map[string]bool
	// dir is removed after the test.
	dir string
	// log takes the lines of the parts.
	log *os.File
}

// Run runs a load test with options that [Options.Check] has checked. The child processes do not inherit the
// environment variables that settings names, so that these do not lead a test to somebody's broker. An
// [app.UsageError] reports an impossible load.
func Run(ctx context.Context, env app.Environment, o Options, settings map[string]bool) (load.Result, error) {
	if o.NATSURL == "" {
		o.Replicas = 1 // the test's own broker is alone
	}
	r := &rig{Options: o, env: env, settings: settings}
	var err error
	if r.dir, err = os.MkdirTemp("", "roomlink-load-"); err != nil {
		return load.Result{}, fmt.Errorf("making a temporary directory: %w", err)
	}
	defer os.RemoveAll(r.dir)
	r.log, err = os.OpenFile(cmp.Or(o.LogFile, os.DevNull), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return load.Result{}, fmt.Errorf("opening the log: %w", err)
	}
	defer r.log.Close()
	if o.Preload > 0 {
		if err := r.preload(ctx); err != nil {
			return load.Result{}, err
		}
	}
	result, err := r.measure(ctx)
	if errors.Is(err, load.ErrAttack) {
		return result, app.UsageError{Err: err}
	}
	return result, err
}

// measure starts the system, runs the test and stops the system.
func (r *rig) measure(ctx context.Context) (result load.Result, err error) {
	workerLater := r.AcceptOnly || r.Drain > 0
	s, err := r.start(ctx, workerLater)
	if err != nil {
		return load.Result{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	progress, done := load.NewProgress(r.env.Stderr)
	defer done()
	test := load.Test{
		Target: s.target, Attack: r.Attack, IdleTimeout: r.Settle, OnlyAttack: r.AcceptOnly, Progress: progress,
	}
	if r.Drain > 0 {
		test.Attack.Rate, test.Attack.Ramp, test.Attack.Duration, test.Attack.Requests = 0, 0, 0, r.Drain
	}
	if r.Chaos {
		test.Meanwhile = s.chaos
	}
	if workerLater {
		test.AfterAttack = s.startWorker
	}
	load.ResetPeakMemory()
	result, err = test.Run(ctx)
	result.Kills = s.kills
	return result, err
}

// brokerDir returns the directory of the broker's store.
func (r *rig) brokerDir() string { return filepath.Join(cmp.Or(r.DataDir, r.dir), "broker") }
