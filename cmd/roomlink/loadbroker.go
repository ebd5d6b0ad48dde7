package main

import (
	"context"

	"roomlink/internal/app"
	"roomlink/internal/load/rig"
)

// loadBrokerCommand runs the broker of a load test whose parts are processes.
type loadBrokerCommand struct{ rig.Broker }

// Run implements the command.
func (c *loadBrokerCommand) Run(ctx context.Context, env app.Environment) error {
	return c.Broker.Run(ctx, env)
}
