package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"roomlink/internal/load"
)

// tolerance is by how much a figure may be worse without a mark.
const tolerance = 0.10

// aside are settings that change nothing of what is measured. "reference" was a flag of
// earlier versions.
var aside = []string{"compare", "fail", "json", "log-file", "reference", "report"}

// Compare writes what changed from a former load test to this one, for a terminal:
// the main figures of both, the change in per cent, and a mark where it is worse by
// more than 10 %. Before them it names the settings, and what of the machine,
// differs, so that nobody compares what is not alike. It returns the errors of the
// writer.
func Compare(w io.Writer, old, now load.Result) error {
	p := newPage(w)
	p.table(columns{{"old  " + described(old)}, {"new  " + described(now)}})
	if differences := differing(old, now); len(differences) > 0 {
		p.block()
		p.line("The two were not run alike, and these differ:")
		for _, difference := range differences {
			p.line("  ", difference)
		}
	}
	rows := columns{{"", "old", "new", "change"}}
	for _, f := range compared(old, now) {
		if f.old.there || f.now.there {
			rows = append(rows, f.row())
		}
	}
	p.table(rows)
	return p.close()
}

// described says which load test it was.
func described(r load.Result) string {
	version := r.Version
	if version == "" {
		version = "unknown version"
	}
	verdict := "held"
	if !r.Passed() {
		verdict = "did not hold"
	}
	return fmt.Sprintf("%s, %s, %s, %s", started(r), plain(version), lasted(r.Duration), verdict)
}

// started is when it was, in UTC: who reads it may be elsewhere.
func started(r load.Result) string { return r.StartedAt.UTC().Format("2006-01-02 15:04 MST") }

// differing are sentences on what makes two load tests unlike.
func differing(old, now load.Result) []string {
	var found []string
	add := func(name, before, after string) {
		if before != after {
			found = append(found, fmt.Sprintf("%s: %s, now %s", plain(name), orNone(before), orNone(after)))
		}
	}
	add("machine", machine(old.Machine), machine(now.Machine))
	add("built with", old.Machine.Go, now.Machine.Go)
	names := maps.Clone(old.Settings)
	if names == nil {
		names = map[string]string{}
	}
	maps.Copy(names, now.Settings)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !slices.Contains(aside, name) {
			add("--"+name, old.Settings[name], now.Settings[name])
		}
	}
	return found
}

func orNone(text string) string {
	if text == "" {
		return "not given"
	}
	return plain(text)
}

func machine(m load.Machine) string {
	if m == (load.Machine{}) {
		return ""
	}
	return fmt.Sprintf("%s/%s, %s", m.OS, m.Arch, counted(m.CPUs, "CPU"))
}

// measured is a value, and whether there is one.
type measured struct {
	value float64
	there bool
}

// change is one figure of two load tests.
type change struct {
	name     string
	write    func(float64) string
	old, now measured
	// moreIsBetter says which way is worse.
	moreIsBetter bool
}

func (c change) row() []string {
	row := []string{c.name, known(c.write, c.old.value, c.old.there), known(c.write, c.now.value, c.now.there)}
	switch {
	case !c.old.there || !c.now.there:
		row = append(row, none)
	case c.old.value != 0:
		row = append(row, percent(c.now.value/c.old.value-1))
	case c.now.value == 0:
		row = append(row, percent(0))
	default:
		row = append(row, "from 0")
	}
	if c.worse() {
		row = append(row, "WORSE")
	}
	return row
}

// worse tells whether the figure is worse by more than the tolerance.
func (c change) worse() bool {
	switch {
	case !c.old.there || !c.now.there:
		return false
	case c.moreIsBetter:
		return c.now.value < c.old.value*(1-tolerance)
	}
	return c.now.value > c.old.value*(1+tolerance)
}

// percent writes a change: +17.8 %. What rounds to nothing has no sign.
func percent(part float64) string {
	rounded := math.Round(part*1000) / 10
	if rounded == 0 {
		return "0.0 %"
	}
	return fmt.Sprintf("%+.1f %%", rounded)
}

// compared are the figures of two load tests, beside each other.
func compared(old, now load.Result) []change {
	both := func(value func(load.Result) (float64, bool)) (before, after measured) {
		before.value, before.there = value(old)
		after.value, after.there = value(now)
		return before, after
	}
	var all []change
	add := func(name string, write func(float64) string, moreIsBetter bool, value func(load.Result) (float64, bool)) {
		before, after := both(value)
		all = append(all, change{name, write, before, after, moreIsBetter})
	}
	add("accepted a second", rate, true, always(func(r load.Result) float64 { return r.AcceptedPerSecond }))
	add("linked a second", rate, true, always(func(r load.Result) float64 { return r.LinkedPerSecond }))
	for _, of := range []struct {
		name    string
		latency func(load.Result) load.Latency
	}{
		{"2xx", func(r load.Result) load.Latency { return r.Answer }},
		{"2xx to links", func(r load.Result) load.Latency { return r.Links }},
	} {
		for _, q := range quantiles {
			add(of.name+", "+q.name, seconds, false, func(r load.Result) (float64, bool) {
				return q.value(of.latency(r)), of.latency(r).Count > 0
			})
		}
	}
	add("drain", seconds, false, func(r load.Result) (float64, bool) { return r.Drain, r.Drain > 0 })
	add("CPU seconds for 1,000 events", cpu, false, func(r load.Result) (float64, bool) { return r.CPUPerThousand() })
	for _, name := range partNames(old, now) {
		add("peak memory of "+plain(name), size[float64], false, func(r load.Result) (float64, bool) { return memoryOf(r, name) })
	}
	add("refused", count, false, always(func(r load.Result) float64 { return float64(r.Requests.Refused) }))
	add("unanswered", count, false, always(func(r load.Result) float64 { return float64(r.Requests.Failed) }))
	add("dead-lettered", count, false, always(func(r load.Result) float64 { return float64(r.Reconciliation.DeadLettered) }))
	return all
}

// always is a figure that every load test has.
func always(value func(load.Result) float64) func(load.Result) (float64, bool) {
	return func(r load.Result) (float64, bool) { return value(r), true }
}

// quantiles are those that are shown everywhere.
var quantiles = []struct {
	name  string
	value func(load.Latency) float64
}{
	{"50 %", func(l load.Latency) float64 { return l.P50 }},
	{"90 %", func(l load.Latency) float64 { return l.P90 }},
	{"99 %", func(l load.Latency) float64 { return l.P99 }},
	{"99.9 %", func(l load.Latency) float64 { return l.P999 }},
	{"100 %", func(l load.Latency) float64 { return l.Max }},
}

// partNames are those of the parts of either, in their order.
func partNames(old, now load.Result) []string {
	var names []string
	for _, part := range slices.Concat(now.Parts, old.Parts) {
		if !slices.Contains(names, part.Name) {
			names = append(names, part.Name)
		}
	}
	return names
}

func memoryOf(r load.Result, name string) (float64, bool) {
	for _, part := range r.Parts {
		if part.Name == name {
			return float64(part.PeakMemory), true
		}
	}
	return 0, false
}

func count(value float64) string { return decimal(value, 0) }
