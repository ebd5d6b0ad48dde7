package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"roomlink/internal/load"
	"roomlink/internal/load/report"
)

// openResults reads the result to compare with, and sees that a report can be
// written: a test is too long to find that out at its end.
func (t *loadTest) openResults() error {
	if t.Report != "" {
		file, err := os.OpenFile(t.Report, os.O_WRONLY|os.O_CREATE, 0o644) //nolint:gosec // it is made to be handed on
		if err != nil {
			return usagef("--report: %w", err)
		}
		_ = file.Close() // nothing was written
	}
	if t.Compare == "" {
		return nil
	}
	file, err := os.Open(t.Compare)
	if err != nil {
		return usagef("--compare: %w", err)
	}
	defer file.Close()
	if t.before, err = load.Read(file); err != nil {
		return usagef("--compare: %s: %w", t.Compare, err)
	}
	return nil
}

// tell says what was found, and returns an error if that does not hold.
func (t *loadTest) tell(result load.Result) error {
	errs := []error{t.print(result)}
	if t.Report != "" {
		errs = append(errs, writeReport(t.Report, result))
	}
	if t.Compare != "" {
		out := t.world.stdout
		if t.JSON {
			out = t.world.stderr // the JSON is for a program
		}
		fmt.Fprintln(out)
		errs = append(errs, report.Compare(out, t.before, result))
	}
	return errors.Join(append(errs, result.Err())...)
}

func (t *loadTest) print(result load.Result) error {
	if !t.JSON {
		return report.Table(t.world.stdout, result)
	}
	encoder := json.NewEncoder(t.world.stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(result)
}

func writeReport(path string, result load.Result) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return errors.Join(report.HTML(file, result), file.Close())
}
