package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/alecthomas/kong"

	"roomlink/internal/app"
	"roomlink/internal/broker"
	"roomlink/internal/load"
	"roomlink/internal/load/report"
	"roomlink/internal/load/rig"
)

// loadCommand runs a load test.
type loadCommand struct {
	rig.Options

	Fail    []load.Condition `sep:"none" help:"A condition, such as p99<500ms. Repeat the flag for several. If one is missed, the exit code is 1."`
	JSON    bool             `name:"json" help:"Print the result as JSON."`
	Report  string           `type:"path" help:"Write the result as an HTML page to this file."`
	Compare string           `type:"existingfile" help:"Compare with the --json result of an earlier test."`
}

// Run implements the command.
func (c *loadCommand) Run(ctx context.Context, env app.Environment, line *kong.Context) error {
	if err := c.Check(); err != nil {
		return err
	}
	before, err := c.openResults()
	if err != nil {
		return err
	}
	result, err := rig.Run(ctx, env, c.Options, settingNames(line.Model))
	if err != nil {
		return err
	}
	result.Settings = givenFlags(line)
	result.Reconcile()
	result.Judge(c.Fail)
	return c.print(env, before, result)
}

// openResults reads the result to compare with, and checks that the report can be
// written: a test takes too long to find that out at its end.
func (c *loadCommand) openResults() (before load.Result, err error) {
	if c.Report != "" {
		file, err := os.OpenFile(c.Report, os.O_WRONLY|os.O_CREATE, 0o644) //nolint:gosec // a report is for others to read
		if err != nil {
			return before, app.Usagef("--report: %w", err)
		}
		_ = file.Close() // nothing was written
	}
	if c.Compare == "" {
		return before, nil
	}
	file, err := os.Open(c.Compare)
	if err != nil {
		return before, app.Usagef("--compare: %w", err)
	}
	defer file.Close()
	if before, err = load.Read(file); err != nil {
		return before, app.Usagef("--compare: %s: %w", c.Compare, err)
	}
	return before, nil
}

// print prints and writes the result. It returns an error for a result that does not
// add up or misses a condition.
func (c *loadCommand) print(env app.Environment, before, result load.Result) error {
	var errs []error
	if c.JSON {
		encoder := json.NewEncoder(env.Stdout)
		encoder.SetIndent("", "  ")
		errs = append(errs, encoder.Encode(result))
	} else {
		errs = append(errs, report.Table(env.Stdout, result))
	}
	if c.Report != "" {
		errs = append(errs, writeReport(c.Report, result))
	}
	if c.Compare != "" {
		out := env.Stdout
		if c.JSON {
			out = env.Stderr // standard output is for a program
		}
		fmt.Fprintln(out)
		errs = append(errs, report.Compare(out, before, result))
	}
	return errors.Join(append(errs, result.Err())...)
}

func writeReport(path string, result load.Result) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return errors.Join(report.HTML(file, result), file.Close())
}

// givenFlags returns the flags of the command line, by their names, without passwords.
func givenFlags(line *kong.Context) map[string]string {
	given := map[string]string{}
	for _, element := range line.Path {
		if flag := element.Flag; flag != nil {
			given[flag.Name] = fmt.Sprint(line.FlagValue(flag))
			if flag.Name == "nats-url" {
				given[flag.Name] = broker.WithoutCredentials(given[flag.Name])
			}
		}
	}
	return given
}

// settingNames returns the names of all environment variables that are settings.
func settingNames(model *kong.Application) map[string]bool {
	names := map[string]bool{}
	for _, node := range model.Leaves(false) {
		for _, flag := range node.Flags {
			for _, name := range flag.Envs {
				names[name] = true
			}
		}
	}
	for _, s := range app.Secrets() {
		names[s.Name], names[s.Name+"_FILE"] = true, true
	}
	return names
}
