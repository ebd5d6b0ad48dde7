package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"roomlink/internal/app"
	"roomlink/internal/store"
)

// streamsCommand inspects and makes streams and consumers.
type streamsCommand struct {
	List  streamsListCommand  `cmd:"" hidden:"" default:"withargs" help:"Show the streams and consumers of roomlink, and what is missing."`
	Apply streamsApplyCommand `cmd:"" help:"Make the missing streams and consumers, and update the others."`
}

type streamsListCommand struct {
	app.StreamsSettings

	JSON bool `name:"json" help:"Print JSON, one document per line."`
}

// Run implements the command.
func (c *streamsListCommand) Run(ctx context.Context, env app.Environment) error {
	findings, err := c.Inspect(ctx, env, false)
	if err != nil {
		return err
	}
	return printFindings(env, findings, c.JSON)
}

type streamsApplyCommand struct {
	app.StreamsSettings

	JSON bool `name:"json" help:"Print JSON, one document per line."`
}

// Run implements the command.
func (c *streamsApplyCommand) Run(ctx context.Context, env app.Environment) error {
	findings, err := c.Inspect(ctx, env, true)
	if err != nil {
		return err
	}
	return printFindings(env, findings, c.JSON)
}

// printFindings prints findings. It returns an error if something is missing or differs.
func printFindings(env app.Environment, findings []store.Finding, asJSON bool) error {
	table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(table, "STREAM\tCONSUMER\tSTATE\tDETAIL")
	}
	wrong := 0
	for _, f := range findings {
		if f.State == store.Missing || f.State == store.Different {
			wrong++
		}
		if !asJSON {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.Stream, f.Consumer, f.State, f.Detail)
		} else if err := json.NewEncoder(env.Stdout).Encode(f); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d streams and consumers are missing or differ: \"roomlink streams apply\" makes them, "+
			"unless the list says otherwise", wrong, len(findings))
	}
	return nil
}
