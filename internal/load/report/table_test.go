package report_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roomlink/internal/load"
	"roomlink/internal/load/report"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func table(t *testing.T, r load.Result) string {
	t.Helper()
	var written bytes.Buffer
	if err := report.Table(&written, r); err != nil {
		t.Fatalf("writing a table: %v", err)
	}
	return written.String()
}

func TestTable(t *testing.T) {
	lost := run(2, 0.0505)
	lost.Settings["facade-latency"] = "lognormal:50ms,0.5"
	lost.Parts = lost.Parts[:1]
	lost.Requests.Refused, lost.Requests.Statuses = 12, map[int]int{503: 10, 429: 2}
	lost.Reconciliation = load.Reconciliation{
		Sent: 4000, Accepted: 3988, Refused: 12, Linked: 3980, DeadLettered: 5, Missing: 3,
		Doubles: 1, Orphans: 4, OrphansAllowed: 2, Waiting: 3,
	}
	lost.Facade.TicketFetches, lost.Kills = 1, 2
	lost.Reconcile()
	lost.Thresholds = []load.Threshold{{Expression: "p99<50ms", Found: 0.0671, Unit: load.Seconds}, {Expression: "drain<1s", Unknown: true}}
	var empty load.Result
	empty.Reconcile()
	for name, r := range map[string]load.Result{
		"table.txt": sample(), "table-lost.txt": lost, "table-empty.txt": empty,
	} {
		golden(t, name, table(t, r))
	}
}

func TestTableOfHostileTexts(t *testing.T) {
	r := run(1, 0.05)
	r.Parts[0].Name = "\x1b[2J"
	r.Thresholds = []load.Threshold{{Expression: "\x1b]0;\a"}}
	r.Reconciliation.Faults = []string{"\x1b[31m"}
	if got := table(t, r); strings.ContainsAny(got, "\x1b\a") {
		t.Errorf("got control characters in %q, want none", got)
	}
}

type brokenWriter struct{ fault error }

func (b brokenWriter) Write([]byte) (int, error) { return 0, b.fault }

func TestTableReturnsErrors(t *testing.T) {
	full := errors.New("the disk is full")
	if err := report.Table(brokenWriter{full}, sample()); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}
