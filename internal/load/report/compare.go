package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"roomlink/internal/load"
)

// tolerance is the relative change up to which a figure does not count as worse.
const tolerance = 0.10

// neutralSettings do not affect the figures. "reference" was a flag of earlier versions.
var neutralSettings = []string{"compare", "fail", "json", "log-file", "reference", "report"}

// Compare writes the change from an old result to a new one for a terminal: the main figures of both, the
// change in per cent, and a mark where the new one is worse by more than 10 %. It first names the differences
// in settings and machine, because such results may not be comparable. It returns the error of the writer.
func Compare(w io.Writer, old, now load.Result) error {
	differences := differences(old, now)
	if len(differences) > 0 {
		differences = slices.Insert(differences, 0, "The two load tests differ in their conditions:")
	}
	rows := columns{{"", "old", "new", "change"}}
	for _, c := range comparisons(old, now) {
		if row := c.row(old, now); row != nil {
			rows = append(rows, row)
		}
	}
	return write(w, []string{"old  " + describe(old), "new  " + describe(now)}, differences, rows.lines())
}

// describe identifies a load test.
func describe(r load.Result) string {
	verdict := "passed"
	if !r.Passed() {
		verdict = "failed"
	}
	return fmt.Sprintf("%s, %s, %s, %s", r.StartedAt.UTC().Format("2006-01-02 15:04 MST"),
		cmp.Or(plain(r.Version), "unknown version"), duration(r.Duration), verdict)
}

func differences(old, now load.Result) []string {
	var found []string
	add := func(name, before, after string) {
		if before != after {
			found = append(found, fmt.Sprintf("  %s: %s, now %s", plain(name),
				cmp.Or(plain(before), "not given"), cmp.Or(plain(after), "not given")))
		}
	}
	add("machine", machine(old.Machine), machine(now.Machine))
	add("built with", old.Machine.Go, now.Machine.Go)
	settings := map[string]string{}
	maps.Copy(settings, old.Settings)
	maps.Copy(settings, now.Settings)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if !slices.Contains(neutralSettings, name) {
			add("--"+name, old.Settings[name], now.Settings[name])
		}
	}
	return found
}

func machine(m load.Machine) string {
	if m == (load.Machine{}) {
		return ""
	}
	return fmt.Sprintf("%s/%s, %s", m.OS, m.Arch, counted(m.CPUs, "CPU"))
}

// comparison is a figure that Compare shows.
type comparison struct {
	name         string
	format       func(float64) string
	moreIsBetter bool
	// value returns the figure and whether it was measured.
	value func(load.Result) (float64, bool)
}

// row returns the row of the figure; nil if neither result has it.
func (c comparison) row(old, now load.Result) []string {
	before, hasBefore := c.value(old)
	after, hasAfter := c.value(now)
	if !hasBefore && !hasAfter {
		return nil
	}
	row := []string{c.name, known(c.format, before, hasBefore), known(c.format, after, hasAfter)}
	if !hasBefore || !hasAfter {
		return append(row, none)
	}
	row = append(row, change(before, after))
	if c.moreIsBetter && after < before*(1-tolerance) || !c.moreIsBetter && after > before*(1+tolerance) {
		row = append(row, "WORSE")
	}
	return row
}

// change formats a change: +17.8 %. A change that rounds to 0 has no sign.
func change(before, after float64) string {
	if before == 0 && after != 0 {
		return "from 0"
	}
	percent := 0.0
	if before != 0 {
		percent = math.Round((after/before-1)*1000) / 10
	}
	if percent == 0 {
		return "0.0 %"
	}
	return fmt.Sprintf("%+.1f %%", percent)
}

// comparisons returns all figures that Compare may show.
func comparisons(old, now load.Result) []comparison {
	all := []comparison{
		{"accepted per second", rate, true, always(func(r load.Result) float64 { return r.AcceptedPerSecond })},
		{"linked per second", rate, true, always(func(r load.Result) float64 { return r.LinkedPerSecond })},
	}
	for _, q := range quantiles {
		all = append(all, comparison{"answer, " + q.name, seconds, false, func(r load.Result) (float64, bool) {
			return q.value(r.Answer), r.Answer.Count > 0
		}})
	}
	for _, q := range quantiles {
		all = append(all, comparison{"answer to links, " + q.name, seconds, false, func(r load.Result) (float64, bool) {
			return q.value(r.Links), r.Links.Count > 0
		}})
	}
	all = append(all,
		comparison{"drain", seconds, false, func(r load.Result) (float64, bool) { return r.Drain, r.Drain > 0 }},
		comparison{"CPU seconds per 1,000 events", cpu, false, func(r load.Result) (float64, bool) { return r.CPUPerThousand() }},
	)
	seen := map[string]bool{}
	for _, part := range slices.Concat(now.Parts, old.Parts) {
		if !seen[part.Name] {
			seen[part.Name] = true
			all = append(all, comparison{"peak memory of " + plain(part.Name), size[float64], false, memoryOf(part.Name)})
		}
	}
	return append(all,
		comparison{"refused", count, false, always(func(r load.Result) float64 { return float64(r.Requests.Refused) })},
		comparison{"unanswered", count, false, always(func(r load.Result) float64 { return float64(r.Requests.Failed) })},
		comparison{"dead-lettered", count, false, always(func(r load.Result) float64 { return float64(r.Reconciliation.DeadLettered) })},
	)
}

// always is a value that every result has.
func always(value func(load.Result) float64) func(load.Result) (float64, bool) {
	return func(r load.Result) (float64, bool) { return value(r), true }
}

// memoryOf is the peak memory of a part.
func memoryOf(name string) func(load.Result) (float64, bool) {
	return func(r load.Result) (float64, bool) {
		for _, part := range r.Parts {
			if part.Name == name {
				return float64(part.PeakMemory), true
			}
		}
		return 0, false
	}
}
