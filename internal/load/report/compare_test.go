package report_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"roomlink/internal/load"
	"roomlink/internal/load/report"
)

func compared(t *testing.T, old, now load.Result) string {
	t.Helper()
	var written bytes.Buffer
	if err := report.Compare(&written, old, now); err != nil {
		t.Fatalf("comparing: %v", err)
	}
	return written.String()
}

func TestCompare(t *testing.T) {
	old := sample()
	old.Settings["reference"] = "true" // a flag of earlier versions
	golden(t, "compare-alike.txt", compared(t, old, sample()))
	now := run(30, 0.0625)
	now.Version = "v1.1.0"
	now.Machine.CPUs = 8
	now.Settings = map[string]string{"rate": "2000", "duration": "30s", "facade-latency": "50ms", "json": "true", "chaos": "true"}
	now.LinkedPerSecond = 1400
	now.Requests.Refused = 3
	now.Parts[0].PeakMemory = 91_000_000
	now.Parts = now.Parts[:2]
	now.Reconcile()
	golden(t, "compare-unlike.txt", compared(t, sample(), now))
}

func TestCompareOfNothing(t *testing.T) {
	got := compared(t, sample(), load.Result{})
	if strings.Contains(got, "NaN") || strings.Contains(got, "Inf") || !strings.Contains(got, "WORSE") {
		t.Errorf("got\n%s\nwant no NaN or Inf, and the rates marked", got)
	}
	if got := compared(t, load.Result{}, load.Result{}); strings.Contains(got, "WORSE") {
		t.Errorf("got\n%s\nwant no mark", got)
	}
}

func TestCompareOfHostileTexts(t *testing.T) {
	old := sample()
	old.Version = "\x1b[2J"
	old.Machine.OS, old.Machine.Go = "\x1b[31m", "\a"
	old.Settings["\x1b"] = "\x1b]0;\a"
	old.Parts[0].Name = "\x1b[1A"
	if got := compared(t, old, sample()); strings.ContainsAny(got, "\x1b\a") {
		t.Errorf("got control characters in %q, want none", got)
	}
}

func TestCompareReturnsErrors(t *testing.T) {
	full := errors.New("the disk is full")
	if err := report.Compare(brokenWriter{full}, sample(), sample()); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}
