package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"roomlink/internal/app"
	"roomlink/internal/broker"
	"roomlink/internal/storecheck"
)

// storeCommand looks after the store of the embedded broker.
type storeCommand struct {
	Check storeCheckCommand `cmd:"" help:"Show what the store holds, and what is damaged or missing."`
}

// storeCheckCommand reads the store in a data directory.
type storeCheckCommand struct {
	DataDir    string `env:"ROOMLINK_DATA_DIR" default:"roomlink-data" help:"The data directory of the embedded broker."`
	JSON       bool   `name:"json" help:"Print one JSON document."`
	AcceptLoss bool   `help:"Forget what is missing, and delete the copies of damaged blocks."`
}

// storeState is what the command prints.
type storeState struct {
	// Running is true if a program uses the store. Then nobody else may read its blocks.
	Running bool                `json:"running"`
	Streams []storecheck.Stream `json:"streams"`
	Damaged []storecheck.Lost   `json:"damaged"`
	Missing []storecheck.Lost   `json:"missing"`
	// More is the number of missing messages that are not listed.
	More   int      `json:"more"`
	Copies []string `json:"copies"`
	// Accepted is true if the loss was accepted by this command.
	Accepted bool `json:"accepted"`
}

// Run implements the command. It fails if something is damaged, or missing and not accepted.
func (c *storeCheckCommand) Run(ctx context.Context, env app.Environment) error {
	state, err := c.read(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		encoder := json.NewEncoder(env.Stdout)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(state)
	} else {
		err = state.print(env.Stdout)
	}
	switch missing := len(state.Missing) + state.More; {
	case err != nil:
		return err
	case len(state.Damaged) > 0:
		return fmt.Errorf("%d messages are damaged: the next start of \"roomlink serve\" keeps all others", len(state.Damaged))
	case missing > 0 && !state.Accepted:
		return fmt.Errorf("%d messages are missing: accept the loss with --accept-loss", missing)
	}
	return nil
}

// read reads the store, or only the report of the program that uses it.
func (c *storeCheckCommand) read(ctx context.Context) (storeState, error) {
	state := storeState{
		Streams: []storecheck.Stream{}, Damaged: []storecheck.Lost{}, Missing: []storecheck.Lost{}, Copies: []string{},
	}
	if _, err := os.Stat(filepath.Join(c.DataDir, "jetstream")); errors.Is(err, fs.ErrNotExist) {
		return state, fmt.Errorf("there is no store in %q: set ROOMLINK_DATA_DIR to the data directory of \"roomlink serve\"", c.DataDir)
	}
	lock, err := broker.LockDirectory(c.DataDir)
	switch {
	case errors.Is(err, broker.ErrLocked):
		state.Running = true
	case err != nil:
		return state, err
	default:
		defer func() { _ = lock.Unlock() }() // the process ends
		if err := storecheck.CheckRights(c.DataDir); err != nil {
			return state, err
		}
		found, err := storecheck.Inspect(ctx, c.DataDir, func(storecheck.Progress) {})
		if err != nil {
			return state, err
		}
		state.Streams, state.Damaged = found.Streams, append(state.Damaged, found.Damage...)
	}
	read := storecheck.ReadReport
	if c.AcceptLoss {
		read, state.Accepted = storecheck.Accept, true
	}
	report, err := read(c.DataDir)
	state.Damaged = append(state.Damaged, report.Damaged...)
	state.Missing = append(state.Missing, report.Missing...)
	state.Copies = append(state.Copies, report.Copies...)
	state.More = report.More
	return state, err
}

// print prints the state for people.
func (s storeState) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if s.Running {
		fmt.Fprintln(out, "\"roomlink serve\" uses the data directory. This is what its start found; stop it to have the blocks read.")
	} else {
		fmt.Fprintln(table, "STREAM\tBLOCKS\tBYTES\tMESSAGES\tDAMAGED\tNOTE")
	}
	for _, stream := range s.Streams {
		note := stream.Unread
		if stream.Torn > 0 {
			note = fmt.Sprintf("the last write broke off: %d bytes", stream.Torn)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%s\n", stream.Name, stream.Blocks, stream.Bytes, stream.Messages, stream.Damaged, note)
	}
	if len(s.Damaged)+len(s.Missing) > 0 {
		fmt.Fprintln(table, "\nSTREAM\tACCOUNT\tINTERACTION\tSINCE\tWHAT\tWHERE")
	}
	for _, lost := range s.Damaged {
		printLost(table, lost, "damaged")
	}
	what := "missing"
	if s.Accepted {
		what = "missing, accepted"
	}
	for _, lost := range s.Missing {
		printLost(table, lost, what)
	}
	if s.More > 0 {
		fmt.Fprintf(table, "and %d more\n", s.More)
	}
	if len(s.Damaged)+len(s.Missing)+s.More == 0 {
		fmt.Fprintln(table, "nothing is damaged or missing")
	}
	for _, copied := range s.Copies {
		if !s.Accepted {
			fmt.Fprintf(table, "the damaged blocks are in %s of the data directory\n", copied)
		}
	}
	return table.Flush()
}

func printLost(out io.Writer, lost storecheck.Lost, what string) {
	account, id, where, since := lost.Account, lost.InteractionID, "", ""
	if id == "" {
		id = lost.Token
	}
	if id == "" {
		account, id = "?", "?"
	}
	if lost.Block != "" {
		where = fmt.Sprintf("%s, byte %d", lost.Block, lost.Offset)
	}
	if lost.Since.Unix() > 0 {
		since = lost.Since.Local().Format(time.DateTime)
	}
	fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", lost.Stream, account, id, since, what, where)
}
