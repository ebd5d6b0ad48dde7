package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"roomlink/internal/app"
	"roomlink/internal/simulator"
	"roomlink/internal/telemetry"
	"roomlink/internal/web"
)

// auviousCommand runs the simulated auvious.
type auviousCommand struct {
	Listen        string            `name:"listen" default:"127.0.0.1:8081" help:"The address of the simulated auvious."`
	BaseURL       string            `name:"base-url" help:"The beginning of its links. The default is the address of the call."`
	ClientID      string            `name:"client-id" default:"simulator" help:"The client id that it accepts. The secret is ROOMLINK_AUVIOUS_CLIENT_SECRET, or simulator-secret."`
	ApplicationID string            `name:"application-id" help:"The only application id that it accepts. By default, it accepts any."`
	Latency       simulator.Latency `default:"0s" help:"The latency of its answers: 50ms, uniform:20ms,80ms or lognormal:50ms,0.5."`
	FailRate      float64           `help:"The share of calls that fail, from 0 to 1."`
	FailStatus    int               `default:"503" help:"The HTTP status of failures."`
	DropRate      float64           `help:"The share of calls that make a room and get no answer, from 0 to 1."`
	Fault         []string          `sep:"none" help:"A named fault, listed above. It may have a limit: bom:first=3 for 3 calls, bom:share=0.5 for half of them, bom:for=3s for 3 seconds from the first. The flag may be repeated."`
	RetryAfter    string            `help:"The Retry-After header of refusals and failures, as in 7, 1.5 or, for a date in 30 seconds, date+30s."`
	TokenLifetime time.Duration     `default:"1h" help:"The lifetime of its tokens."`
	app.LogSettings
}

// answerTimeout bounds a simulated answer. No caller waits longer for a real one.
const answerTimeout = 10 * time.Minute

// Help lists the named faults.
func (c *auviousCommand) Help() string {
	faults := simulator.NamedFaults()
	var text strings.Builder
	text.WriteString("The named faults for --fault:\n\n")
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(&text, "  %-23s %s\n", name, faults[name])
	}
	return text.String()
}

// Run implements the command.
func (c *auviousCommand) Run(ctx context.Context, env app.Environment) error {
	log, _, err := telemetry.NewLogger(env.Stderr, c.LogLevel, c.LogFormat)
	if err != nil {
		return app.UsageError{Err: err}
	}
	clientSecret, err := env.Secret(app.AuviousSecret)
	if err != nil {
		return err
	}
	simulated, err := simulator.New(simulator.Config{
		ClientID: c.ClientID, ClientSecret: cmp.Or(clientSecret.Reveal(), simulator.DefaultClientSecret),
		ApplicationID: c.ApplicationID, TokenLifetime: c.TokenLifetime, Latency: c.Latency, BaseURL: c.BaseURL,
		Faults: simulator.Faults{
			Rate: c.FailRate, Status: c.FailStatus, Drop: c.DropRate, Named: c.Fault, RetryAfter: c.RetryAfter,
		},
	})
	if err != nil {
		return app.UsageError{Err: err}
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	log.Info().Str("address", listener.Addr().String()).Str("part", "auvious").Msg("listening")
	return web.Server{Handler: simulated, Logger: log, AnswerTimeout: answerTimeout}.Run(ctx, listener)
}
