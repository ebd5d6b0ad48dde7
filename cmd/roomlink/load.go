package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kong"

	"roomlink/internal/load"
	"roomlink/internal/simulator"
)

// loadCommand holds a load test.
type loadCommand struct {
	Rate        float64       `default:"0" help:"Requests a second; 0 for as many as the connections carry."`
	Duration    time.Duration `default:"30s" help:"How long requests are sent."`
	Ramp        time.Duration `default:"0s" help:"How long the rate takes to rise from 0, as a part of the duration."`
	Requests    int           `default:"0" help:"Requests at most; 0 for any number."`
	Connections int           `default:"256" help:"Connections to the webhook, each with one request at a time."`
	Shapes      shapeMix      `default:"automation=8,digital=1,action=1" help:"Which samples are sent, and by what weight."`
	Duplicates  share         `default:"0%" help:"Which part of the requests repeats a recent conversation, such as 2%."`
	Accounts    int           `default:"1" help:"How many accounts the conversations belong to, in turn."`
	AcceptOnly  bool          `help:"Measure the accepting alone: the worker starts when the requests are over."`
	Drain       int           `default:"0" help:"Have this many events wait before the worker starts, and measure how long they take; in place of a duration."`
	Preload     int           `name:"preload-links" default:"0" help:"How many links of other conversations are stored before."`
	Settle      time.Duration `default:"60s" help:"How long to wait, after the requests, without any more links for what still waits."`

	FacadeLatency simulator.Latency `default:"0s" help:"How long the simulated auvious takes: 50ms, uniform:20ms,80ms or lognormal:50ms,0.5."`
	FacadeErrors  share             `default:"0%" help:"Which part of its calls fails, such as 2%."`
	FacadeStatus  int               `default:"503" help:"What those are answered."`
	AuviousURL    string            `name:"auvious-url" help:"Another auvious, in place of the simulated one. It makes real rooms. The credentials are those of the settings."`
	Concurrency   int               `default:"64" help:"Calls of auvious at once for an account."`

	Sync     syncInterval `default:"always" help:"When the embedded broker syncs its store to the disk: \"always\" or an interval."`
	DataDir  string       `type:"path" help:"Where the broker keeps its store, on the disk that is to be measured; by default a temporary directory that goes with the test."`
	NatsURL  string       `name:"nats-url" help:"An external broker, in place of the embedded one."`
	Replicas int          `default:"1" help:"Replicas of each stream on that."`
	Split    bool         `help:"Run each part as a process of its own."`
	Apart    bool         `help:"Run \"roomlink serve\" as one process, apart from the test: what it uses is then its own."`
	Chaos    bool         `help:"Kill the parts at random while requests are sent, and start them again. They are processes of their own then."`
	Seed     uint64       `default:"0" help:"Chooses what is killed when; 0 for a new one each time."`

	Fail     []load.Condition `sep:"none" help:"A condition, such as p99<500ms or rate>=500; several by several flags. Exit 1 if one is missed."`
	JSON     bool             `name:"json" help:"Print what was found as JSON."`
	Report   string           `type:"path" help:"Write what was found as a page of HTML to this file."`
	Compare  string           `type:"existingfile" help:"What an earlier --json printed, to be compared with."`
	LogLevel string           `default:"info" enum:"trace,debug,info,warn,error" help:"From which level on the parts write lines: ${enum}."`
	LogFile  string           `type:"path" help:"Where the lines of the parts go; by default to the null device, so that they cost what they do elsewhere."`

	loadCredentials
}

// loadCredentials are for a broker and an auvious that are not the test's own.
type loadCredentials struct {
	NatsCreds string `env:"ROOMLINK_NATS_CREDS" help:"A NATS credentials file for --nats-url."`
	NatsUser  string `env:"ROOMLINK_NATS_USER" help:"The user for --nats-url."`
	NatsCA    string `name:"nats-ca" env:"ROOMLINK_NATS_CA" help:"The certificate authorities for --nats-url (PEM)."`
	NatsCert  string `env:"ROOMLINK_NATS_CERT" help:"Our certificate for --nats-url (PEM)."`
	NatsKey   string `env:"ROOMLINK_NATS_KEY" help:"The key of that certificate (PEM)."`

	AuviousClientID       string `name:"auvious-client-id" env:"ROOMLINK_AUVIOUS_CLIENT_ID" help:"The client id for --auvious-url."`
	AuviousApplicationID  string `name:"auvious-application-id" env:"ROOMLINK_AUVIOUS_APPLICATION_ID" help:"The application id for --auvious-url."`
	AuviousOrganizationID string `name:"auvious-organization-id" env:"ROOMLINK_AUVIOUS_ORGANIZATION_ID" help:"The organization id for --auvious-url."`
}

// loadTest is a load test that is held.
type loadTest struct {
	loadCommand
	world world
	// dir holds what goes with the test.
	dir string
	// log is where the parts write.
	log    *os.File
	attack load.Attack
	// before is the result to compare with, if there is one.
	before load.Result
}

// Run carries out the command.
func (c *loadCommand) Run(ctx context.Context, w world, line *kong.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	t := &loadTest{loadCommand: *c, world: w}
	if err := t.open(); err != nil {
		return err
	}
	defer t.close()
	result, err := t.measure(ctx)
	if err != nil {
		if errors.Is(err, load.ErrAttack) {
			return usageError{err}
		}
		return err
	}
	result.Settings = givenFlags(line)
	result.Reconcile()
	result.Judge(c.Fail)
	return t.tell(result)
}

// check finds what does not go together.
func (c *loadCommand) check() error {
	switch {
	case c.Accounts < 1 || c.Accounts > mostLoadAccounts:
		return usagef("--accounts is from 1 to %d", mostLoadAccounts)
	case c.Concurrency < 1:
		return usagef("--concurrency is at least 1")
	case c.Drain < 0 || c.Preload < 0:
		return usagef("--drain and --preload-links are not less than 0")
	case c.AuviousURL != "" && c.AuviousClientID == "":
		return usagef("--auvious-url needs ROOMLINK_AUVIOUS_CLIENT_ID and %s", auviousSecret)
	case c.Apart && (c.Split || c.AcceptOnly || c.Drain > 0):
		return usagef("--apart has the parts together: it goes with none of --split, --accept-only and --drain")
	}
	return nil
}

// open makes what the test needs before any part runs.
func (t *loadTest) open() error {
	var err error
	if t.dir, err = os.MkdirTemp("", "roomlink-load-"); err != nil {
		return fmt.Errorf("making a temporary directory: %w", err)
	}
	t.log, err = os.OpenFile(cmp.Or(t.LogFile, os.DevNull), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.close()
		return fmt.Errorf("opening the log: %w", err)
	}
	if err := t.openResults(); err != nil {
		t.close()
		return err
	}
	t.attack = load.Attack{
		Rate: t.Rate, Ramp: t.Ramp, Duration: t.Duration, Requests: t.Requests,
		Connections: t.Connections, Duplicates: float64(t.Duplicates),
	}
	if t.Drain > 0 {
		t.attack.Rate, t.attack.Ramp, t.attack.Duration, t.attack.Requests = 0, 0, 0, t.Drain
	}
	t.attack.Shapes, err = t.Shapes.samples()
	if err != nil {
		t.close()
	}
	return err
}

func (t *loadTest) close() {
	if t.log != nil {
		_ = t.log.Close()
	}
	_ = os.RemoveAll(t.dir) // what is left of it harms nobody
}

// brokerDir returns the store directory of a broker that the test starts itself.
func (t *loadTest) brokerDir() string { return filepath.Join(cmp.Or(t.DataDir, t.dir), "broker") }

// measure starts the whole path, measures it and stops it.
func (t *loadTest) measure(ctx context.Context) (result load.Result, err error) {
	if t.Preload > 0 {
		if err := t.preload(ctx); err != nil {
			return load.Result{}, err
		}
	}
	s, err := t.start(ctx, t.workerLater())
	if err != nil {
		return load.Result{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	progress, done := load.NewProgress(t.world.stderr)
	defer done()
	test := load.Test{
		Target: s.target, Attack: t.attack, Settle: t.Settle, OnlyAttack: t.AcceptOnly, Progress: progress,
	}
	test.Meanwhile = s.meanwhile
	load.ForgetPeak()
	if t.workerLater() {
		test.AfterAttack = s.startWorker
	}
	return test.Run(ctx)
}

// workerLater reports whether the worker starts after the requests.
func (t *loadTest) workerLater() bool { return t.AcceptOnly || t.Drain > 0 }

// ownUsage is what everything in this process used.
func ownUsage() []load.Usage { return []load.Usage{load.Own("all")} }

// givenFlags are the flags of a command as they were given, by their names.
func givenFlags(line *kong.Context) map[string]string {
	given := map[string]string{}
	for _, element := range line.Path {
		if flag := element.Flag; flag != nil {
			given[flag.Name] = fmt.Sprint(line.FlagValue(flag))
		}
	}
	return given
}
