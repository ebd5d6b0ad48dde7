package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"roomlink/internal/simulator"
	"roomlink/internal/telemetry"
	"roomlink/internal/web"
)

// auviousCommand runs the simulated auvious.
type auviousCommand struct {
	Listen        string            `name:"listen" default:"127.0.0.1:8081" help:"The address of the simulated auvious."`
	BaseURL       string            `name:"base-url" help:"What its links begin with; by default the address that it is called by."`
	ClientID      string            `name:"client-id" default:"simulator" help:"The client id that it takes. The secret is that of ROOMLINK_AUVIOUS_CLIENT_SECRET, or simulator-secret."`
	ApplicationID string            `name:"application-id" help:"The only application id that it takes; by default any."`
	Latency       simulator.Latency `default:"0s" help:"How long an answer takes: 50ms, uniform:20ms,80ms or lognormal:50ms,0.5."`
	FailRate      float64           `help:"Which part of the calls fails, from 0 to 1."`
	FailStatus    int               `default:"503" help:"What those are answered."`
	DropRate      float64           `help:"Which part of the calls makes a room and is not answered, from 0 to 1."`
	TokenLifetime time.Duration     `default:"1h" help:"How long its tokens are valid."`
	logSettings
}

// simulatedMost bounds how long a simulated answer takes: longer than anybody waits
// for a real one.
const simulatedMost = 10 * time.Minute

// Run carries out the command.
func (c *auviousCommand) Run(ctx context.Context, w world) error {
	log, err := telemetry.NewLogger(w.stderr, c.LogLevel, c.LogFormat)
	if err != nil {
		return usageError{err}
	}
	clientSecret, err := w.secretOf(auviousSecret)
	if err != nil {
		return err
	}
	if clientSecret == "" {
		clientSecret = simulator.DefaultClientSecret
	}
	simulated, err := simulator.New(simulator.Config{
		ClientID: c.ClientID, ClientSecret: clientSecret.Reveal(), ApplicationID: c.ApplicationID,
		TokenLifetime: c.TokenLifetime, Latency: c.Latency, BaseURL: c.BaseURL,
		Faults: simulator.Faults{Rate: c.FailRate, Status: c.FailStatus, Drop: c.DropRate},
	})
	if err != nil {
		return usageError{err}
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	log.Info().Str("address", listener.Addr().String()).Str("part", "auvious").Msg("listening")
	return web.Server{Handler: simulated, Logger: log, AnswerTimeout: simulatedMost}.Run(ctx, listener)
}
