package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"roomlink/internal/app"
	"roomlink/internal/store"
	"roomlink/messages"
)

// subscribersCommand shows and removes subscribers.
type subscribersCommand struct {
	List   subscribersListCommand   `cmd:"" hidden:"" default:"withargs" help:"Show how far each subscriber is."`
	Remove subscribersRemoveCommand `cmd:"" help:"Delete the place of a subscriber that is gone from the configuration."`
}

type subscribersListCommand struct {
	app.ConnectionSettings

	JSON bool `name:"json" help:"Print JSON, one document per line."`
}

// Run implements the command.
func (c *subscribersListCommand) Run(ctx context.Context, env app.Environment) error {
	s, disconnect, err := c.Connect(ctx, env)
	if err != nil {
		return err
	}
	defer disconnect()
	ctx, cancel := context.WithTimeout(ctx, app.DialTimeout)
	defer cancel()
	positions, err := s.Subscribers(ctx)
	if err != nil {
		return err
	}
	if !c.JSON {
		return printPositions(env.Stdout, positions, time.Now())
	}
	for _, position := range positions {
		if err := json.NewEncoder(env.Stdout).Encode(position); err != nil {
			return err
		}
	}
	return nil
}

// printPositions prints how far subscribers are, at the time now.
func printPositions(out io.Writer, positions []store.SubscriberPosition, now time.Time) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ACCOUNT\tNAME\tOF\tWAITING\tUNACKNOWLEDGED\tREDELIVERED\tLAST SEEN\tNOTE")
	for _, p := range positions {
		of := "links"
		if p.Stream == messages.DeadLettersStream {
			of = "dead letters"
		}
		seen := "never"
		if !p.LastSeen.IsZero() {
			seen = p.LastSeen.Local().Format(time.DateTime)
		}
		var notes []string
		if p.Reading {
			notes = append(notes, "reading")
		}
		if !p.RemovedAt.IsZero() {
			left := max(p.RemovedAt.Add(store.RemovalDelay).Sub(now), 0).Round(time.Minute)
			notes = append(notes, fmt.Sprintf("not configured: goes in %v", left))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n",
			p.Account, p.Name, of, p.Waiting, p.Unacknowledged, p.Redelivered, seen, strings.Join(notes, ", "))
	}
	return table.Flush()
}

type subscribersRemoveCommand struct {
	app.OperatorSettings

	Name string `arg:"" help:"The name of the subscriber."`
}

// Run implements the command.
func (c *subscribersRemoveCommand) Run(ctx context.Context, env app.Environment) error {
	s, disconnect, err := c.Connect(ctx, env)
	if err != nil {
		return err
	}
	defer disconnect()
	ctx, cancel := context.WithTimeout(ctx, app.DialTimeout)
	defer cancel()
	if err := s.RemoveSubscriber(ctx, c.Account, c.Name); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "Removed the place of subscriber %q of account %q. "+
		"If it is still configured, roomlink makes a new one within the hour.\n", c.Name, c.Account)
	return err
}
