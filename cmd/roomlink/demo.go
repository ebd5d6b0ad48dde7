package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"roomlink/internal/app"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/talkdesk"
	"roomlink/internal/web"
)

// The addresses of the demo. It chooses free ones if other programs have taken these.
const (
	demoListen = "127.0.0.1:8080"
	demoBroker = "127.0.0.1:4222"
	demoOps    = "127.0.0.1:9090"
)

// demoSubscriber is the demo's subscriber.
const demoSubscriber = "crm"

// demoCommand runs everything in one process, without any configuration.
type demoCommand struct {
	DataDir  string `help:"The data directory of the demo. The default is a temporary directory."`
	LogLevel string `default:"warn" enum:"trace,debug,info,warn,error" help:"The lowest level of logged lines: ${enum}."`
}

// demo is a running demo.
type demo struct {
	env     app.Environment
	dataDir string
	key     secret.String
	program *app.App
}

// Run implements the command.
func (c *demoCommand) Run(ctx context.Context, env app.Environment) error {
	d := &demo{env: env, dataDir: c.DataDir, key: secret.String(rand.Text())}
	if d.dataDir == "" {
		dir, err := os.MkdirTemp("", "roomlink-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		d.dataDir = dir
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group errgroup.Group
	auviousURL, err := d.startAuvious(ctx, &group)
	if err != nil {
		return err
	}
	if err := d.start(ctx, auviousURL, c.LogLevel); err != nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	group.Go(func() error {
		defer stop()
		return d.program.Wait()
	})
	if err := d.show(ctx); err != nil && ctx.Err() == nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	return group.Wait()
}

// startAuvious starts the simulated auvious and returns its URL.
func (d *demo) startAuvious(ctx context.Context, group *errgroup.Group) (string, error) {
	simulated, err := simulator.New(simulator.Config{})
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	group.Go(func() error { return web.Server{Handler: simulated, Logger: zerolog.Nop()}.Run(ctx, listener) })
	return "http://" + listener.Addr().String(), nil
}

// start starts "serve" with the demo's own settings.
func (d *demo) start(ctx context.Context, auviousURL, logLevel string) error {
	var settings app.ServeSettings
	err := app.ParseSettings(&settings,
		"--auvious-url="+auviousURL, "--auvious-client-id="+simulator.DefaultClientID,
		"--auvious-application-id=simulated-application", "--data-dir="+d.dataDir,
		"--subscribers="+demoSubscriber,
		"--listen="+free(demoListen), "--broker-listen="+free(demoBroker), "--ops-listen="+free(demoOps),
		"--log-level="+logLevel, "--log-format=console")
	if err != nil {
		return err
	}
	settings.AnyApplication = true // auvious' own example has a placeholder
	secrets := map[string]string{
		app.AuviousSecret: simulator.DefaultClientSecret,
		app.TalkdeskKey:   d.key.Reveal(),
	}
	env := d.env
	env.Lookup = func(name string) (string, bool) {
		value, ok := secrets[name]
		return value, ok
	}
	d.program, err = app.Serve(ctx, env, settings)
	return err
}

// free returns an address if nobody listens on it, and otherwise one with a free port.
func free(address string) string {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = listener.Close() // nobody connected
	return address
}

// show sends a sample conversation, and prints its links and what to try next.
func (d *demo) show(ctx context.Context) error {
	id := strings.ToLower(rand.Text())
	body, err := talkdesk.Automation.Sample(id)
	if err != nil {
		return err
	}
	client := talkdesk.Client{URL: d.program.URL(), Key: d.key}
	began := time.Now()
	status, answer, err := client.PostEvent(ctx, body)
	if err != nil {
		return err
	}
	if status != http.StatusAccepted {
		return fmt.Errorf("the webhook answered %d: %s", status, answer)
	}
	status, answer, err = client.Get(ctx, "/links/"+id+"?wait=5s")
	if err != nil {
		return err
	}
	var links demoLinks
	if err := json.Unmarshal(answer, &links); err != nil || status != http.StatusOK || links.Status != "ready" {
		return fmt.Errorf("the sample conversation has no links: the viewer answered %d, status %q %s",
			status, links.Status, links.Reason)
	}
	d.print(id, links, time.Since(began))
	return nil
}

// demoLinks are the links of the sample conversation, as the viewer answers them.
type demoLinks struct {
	Status      string `json:"status"`
	AgentURL    string `json:"agentUrl"`
	TicketURL   string `json:"ticketUrl"`
	ContextURL  string `json:"contextUrl"`
	CustomerURL string `json:"customerUrl"`
	CardURL     string `json:"cardUrl"`
	Reason      string `json:"reason"`
}

func (d *demo) print(id string, links demoLinks, took time.Duration) {
	base, operations := d.program.URL(), d.program.OperationsAddress()
	fmt.Fprintf(d.env.Stdout, `
A conversation started in (simulated) Talkdesk. Its links were there %d ms later.

  conversation    %s
  agent           %s
  customer        %s

  context link    %s
  customer page   %s
  canvas card     %s

Try next:

  another event, as Talkdesk's Automations would post it
    curl -sS %s/talkdesk/events -H 'X-API-Key: %s' -H 'Content-Type: application/json' \
      -d '{"event":"inbound_call_starts","interaction_id":"my-first-call","contact_id":"customer-7"}'

  its links
    curl -sS '%s/links/my-first-call?wait=4s' -H 'X-API-Key: %s'

  the links of every conversation, as a subscriber sees them
    go run ./cmd/roomlink links watch --data-dir %s --broker-listen %s

  health and metrics
    curl -sS http://%s/readyz http://%s/metrics

Serving on %s until Ctrl-C.
`, took.Milliseconds(), id, links.AgentURL, links.TicketURL,
		links.ContextURL, links.CustomerURL, links.CardURL,
		base, d.key.Reveal(), base, d.key.Reveal(),
		d.dataDir, strings.TrimPrefix(d.program.Broker().Address(), "nats://"),
		operations, operations, base)
}
