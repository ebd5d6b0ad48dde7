package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"roomlink/internal/app"
)

// checkCommand tries what a start needs, or asks a running program.
type checkCommand struct {
	app.CheckSettings

	Ready bool `help:"Ask the program that runs at ROOMLINK_OPS_LISTEN whether it is ready, and check nothing else."`
	JSON  bool `name:"json" help:"Print JSON, one document per line."`
}

// Run implements the command. It fails if something failed that a start needs.
func (c *checkCommand) Run(ctx context.Context, env app.Environment) error {
	results, failed := 0, 0
	var broken error
	report := func(result app.Result) {
		results++
		if result.State == app.CheckFailed {
			failed++
		}
		if broken == nil {
			broken = c.print(env.Stdout, result)
		}
	}
	if c.Ready {
		app.CheckReady(ctx, c.OperationsSettings, report)
	} else {
		app.Check(ctx, env, c.CheckSettings, report)
	}
	switch {
	case broken != nil:
		return broken
	case ctx.Err() != nil:
		return ctx.Err()
	case failed > 0 && c.Ready:
		return errNotReady
	case failed > 0:
		return fmt.Errorf("%d of %d checks failed: roomlink cannot do its work like this", failed, results)
	}
	return nil
}

var errNotReady = errors.New("the program is not ready")

func (c *checkCommand) print(out io.Writer, result app.Result) error {
	if c.JSON {
		return json.NewEncoder(out).Encode(result)
	}
	line := fmt.Sprintf("%-8s %-12s %s", result.State, result.Check, result.Detail)
	if result.Remedy != "" {
		line += ": " + result.Remedy
	}
	_, err := fmt.Fprintln(out, line)
	return err
}
