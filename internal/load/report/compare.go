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
	return write(w, []string{"old  " + describe(old), "new  " + describe(now)}, differences, changes(old, now).lines())
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

// figure is a value that Compare shows; NaN if it was not measured.
type figure struct {
	name         string
	format       func(float64) string
	moreIsBetter bool
	value        float64
}

// figures returns the figures of a result, with the peak memory of the given parts. Two results have the same
// figures in the same order.
func figures(r load.Result, parts []string) []figure {
	all := []figure{
		{"accepted per second", rate, true, r.AcceptedPerSecond},
		{"linked per second", rate, true, r.LinkedPerSecond},
	}
	for _, p := range r.Answer.Percentiles() {
		all = append(all, figure{"answer, " + percent(p), seconds, false, p.Value})
	}
	for _, p := range r.Links.Percentiles() {
		all = append(all, figure{"answer to links, " + percent(p), seconds, false, p.Value})
	}
	all = append(all,
		figure{"drain", seconds, false, nonZero(r.Drain)},
		figure{"CPU seconds per 1,000 events", cpu, false, r.CPUPerThousand()})
	for _, name := range parts {
		memory := math.NaN()
		for _, part := range r.Parts {
			if part.Name == name {
				memory = float64(part.PeakMemory)
			}
		}
		all = append(all, figure{"peak memory of " + plain(name), size, false, memory})
	}
	return append(all,
		figure{"refused", count, false, float64(r.Requests.Refused)},
		figure{"unanswered", count, false, float64(r.Requests.Failed)},
		figure{"dead-lettered", count, false, float64(r.Reconciliation.DeadLettered)})
}

// nonZero returns NaN for 0, with which a result says that there was nothing to measure.
func nonZero(value float64) float64 {
	if value == 0 {
		return math.NaN()
	}
	return value
}

// changes returns the figures that either result has.
func changes(old, now load.Result) rows {
	var parts []string
	for _, part := range slices.Concat(now.Parts, old.Parts) {
		if !slices.Contains(parts, part.Name) {
			parts = append(parts, part.Name)
		}
	}
	all, before := rows{{"", "old", "new", "change"}}, figures(old, parts)
	for i, f := range figures(now, parts) {
		was := before[i].value
		if math.IsNaN(was) && math.IsNaN(f.value) {
			continue
		}
		row := []string{f.name, f.format(was), f.format(f.value), change(was, f.value)}
		if f.moreIsBetter && f.value < was*(1-tolerance) || !f.moreIsBetter && f.value > was*(1+tolerance) {
			row = append(row, "WORSE")
		}
		all = append(all, row)
	}
	return all
}

// change formats a change: +17.8 %. A change that rounds to 0 has no sign.
func change(before, after float64) string {
	percent := math.Round((after/before-1)*1000) / 10
	switch {
	case math.IsNaN(before + after):
		return none
	case before == after || percent == 0:
		return "0.0 %"
	case before == 0:
		return "from 0"
	}
	return fmt.Sprintf("%+.1f %%", percent)
}
