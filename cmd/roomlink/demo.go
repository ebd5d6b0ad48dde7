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

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/web"
)

// The addresses that the demo takes if they are free.
const (
	demoListen = "127.0.0.1:8080"
	demoBroker = "127.0.0.1:4222"
	demoOps    = "127.0.0.1:9090"
)

// demoCommand runs everything in one process, with nothing configured.
type demoCommand struct {
	DataDir  string `help:"Where the demo keeps its data; by default a temporary directory that goes with it."`
	LogLevel string `default:"warn" enum:"trace,debug,info,warn,error" help:"From which level on lines are logged: ${enum}."`
}

// demo is a demo that runs.
type demo struct {
	world   world
	dataDir string
	key     secret.String
	process *process
}

// Run carries out the command.
func (c *demoCommand) Run(ctx context.Context, w world) error {
	d := &demo{world: w, dataDir: c.DataDir, key: secret.String(rand.Text())}
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
		return d.process.run(ctx)
	})
	if err := d.show(ctx); err != nil && ctx.Err() == nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	return group.Wait()
}

// startAuvious starts the simulated auvious and returns its address.
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

// start starts what "serve" does, with settings of the demo's own.
func (d *demo) start(ctx context.Context, auviousURL, logLevel string) error {
	var serve serveCommand
	parser, err := kong.New(&serve)
	if err != nil {
		return err
	}
	_, err = parser.Parse([]string{
		"--account=default", "--nats-url=", "--auvious-url=" + auviousURL, "--auvious-url-base=" + auviousURL,
		"--auvious-client-id=" + simulator.DefaultClientID, "--auvious-application-id=simulated-application",
		"--data-dir=" + d.dataDir, "--listen=" + free(demoListen), "--public-url=",
		"--broker-listen=" + free(demoBroker), "--ops-listen=" + free(demoOps),
		"--log-level=" + logLevel, "--log-format=console",
	})
	if err != nil {
		return err
	}
	secrets := map[string]string{
		auviousSecret: simulator.DefaultClientSecret,
		talkdeskKey:   d.key.Reveal(),
	}
	w := d.world
	w.lookup = func(name string) (string, bool) {
		value, ok := secrets[name]
		return value, ok
	}
	d.process, err = startProcess(ctx, w, serve.logSettings, serve.build)
	return err
}

// free returns an address, or one with a free port where it is taken.
func free(address string) string {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = listener.Close() // it was only to see
	return address
}

// show sends a sample conversation, prints its links, and says what to try next.
func (d *demo) show(ctx context.Context) error {
	id := strings.ToLower(rand.Text())
	body, err := sample("automation", id)
	if err != nil {
		return err
	}
	base := d.process.publicURL
	began := time.Now()
	status, reply, err := postEvent(ctx, base, d.key, body)
	if err != nil {
		return err
	}
	if status != http.StatusAccepted {
		return fmt.Errorf("the webhook answered %d: %s", status, reply)
	}
	status, reply, err = call(ctx, http.MethodGet, base+"/links/"+id+"?wait=5s", d.key, nil)
	if err != nil {
		return err
	}
	var links demoLinks
	if err := json.Unmarshal(reply, &links); err != nil || status != http.StatusOK || links.Status != "ready" {
		return fmt.Errorf("the sample conversation has no links: the viewer answered %d, status %q %s",
			status, links.Status, links.Reason)
	}
	d.tell(id, links, time.Since(began))
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

// tell prints the links of the sample conversation and what to try next.
func (d *demo) tell(id string, links demoLinks, took time.Duration) {
	base := d.process.publicURL
	fmt.Fprintf(d.world.stdout, `
A conversation started in Talkdesk (simulated), and %d ms later its links are there.

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

  every conversation's links, as a subscriber sees them
    go run ./cmd/roomlink links watch --data-dir %s --broker-listen %s

  health and metrics
    curl -sS http://%s/readyz http://%s/metrics

Serving on %s until Ctrl-C.
`, took.Milliseconds(), id, links.AgentURL, links.TicketURL,
		links.ContextURL, links.CustomerURL, links.CardURL,
		base, d.key.Reveal(), base, d.key.Reveal(),
		d.dataDir, strings.TrimPrefix(d.process.broker.Address(), "nats://"),
		d.process.opsAddress, d.process.opsAddress, base)
}
