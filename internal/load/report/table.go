package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"roomlink/internal/load"
)

// Table writes the result of a load test for a terminal. Latencies are in ms or s, sizes in MB of 10⁶ bytes. It
// returns the error of the writer.
func Table(w io.Writer, r load.Result) error {
	return write(w, rates(r).lines(), latencies(r).lines(), parts(r).lines(), requests(r),
		reconciliation(r.Reconciliation), thresholds(r.Thresholds).lines())
}

func rates(r load.Result) columns {
	return columns{
		{"events per second", "over " + duration(r.Duration)},
		{"accepted", rate(r.AcceptedPerSecond)},
		{"linked", rate(r.LinkedPerSecond)},
	}
}

// quantiles are the percentiles that tables show.
var quantiles = []struct {
	name       string
	percentile float64
	value      func(load.Latency) float64
}{
	{"50 %", 50, func(l load.Latency) float64 { return l.P50 }},
	{"90 %", 90, func(l load.Latency) float64 { return l.P90 }},
	{"99 %", 99, func(l load.Latency) float64 { return l.P99 }},
	{"99.9 %", 99.9, func(l load.Latency) float64 { return l.P999 }},
	{"100 %", 100, func(l load.Latency) float64 { return l.Max }},
}

func latencies(r load.Result) columns {
	head := []string{"latency"}
	for _, q := range quantiles {
		head = append(head, q.name)
	}
	rows := columns{head, latency("answer", r.Answer), latency("answer to links", r.Links)}
	added, ok := r.Added()
	if own, _ := r.FacadeLatency(); ok && own > 0 {
		rows = append(rows, latency("  without the facade's "+wholeSeconds(own), added))
	}
	return rows
}

func latency(name string, l load.Latency) []string {
	row := []string{name}
	for _, q := range quantiles {
		row = append(row, known(seconds, q.value(l), l.Count > 0))
	}
	return row
}

// parts has a row for each part and one for the total.
func parts(r load.Result) columns {
	if len(r.Parts) == 0 {
		return nil
	}
	rows := columns{{"part", "CPU seconds", "per 1,000 events", "peak memory"}}
	var used, perThousand float64
	for _, part := range r.Parts {
		used += part.CPUSeconds
		perThousand += part.CPUPerThousand
		rows = append(rows, []string{plain(part.Name), cpu(part.CPUSeconds), cpu(part.CPUPerThousand), size(part.PeakMemory)})
	}
	if len(r.Parts) > 1 {
		rows = append(rows, []string{"total", cpu(used), cpu(perThousand)})
	}
	return rows
}

// requests returns lines about the requests to the webhook and to the facade.
func requests(r load.Result) []string {
	q, f := r.Requests, r.Facade
	var statuses []string
	for _, status := range slices.Sorted(maps.Keys(q.Statuses)) {
		statuses = append(statuses, fmt.Sprintf("%s × %d", integer(q.Statuses[status]), status))
	}
	refused := integer(q.Refused) + " refused"
	if len(statuses) > 0 {
		refused += " (" + strings.Join(statuses, ", ") + ")"
	}
	lines := []string{fmt.Sprintf("requests: %s sent, %s accepted, %s, %s, %s unanswered, %s late", integer(q.Sent),
		integer(q.Accepted), counted(q.Duplicates, "duplicate"), refused, integer(q.Failed), integer(q.Late))}
	if f.Counted {
		lines = append(lines, fmt.Sprintf("facade: %s (%s failed), %s, %s, %s fetched", counted(f.Calls, "call"),
			integer(f.Failed), counted(f.Rooms, "room"), counted(f.TokenCalls, "token call"), counted(f.TicketFetches, "ticket")))
	}
	if r.Drain > 0 {
		lines = append(lines, "drain: "+seconds(r.Drain)+" from the start of the worker to the last links")
	}
	if r.Kills > 0 {
		lines = append(lines, "chaos: "+counted(r.Kills, "kill"))
	}
	return lines
}

// reconciliation returns its lines, in conversations.
func reconciliation(c load.Reconciliation) []string {
	lines := []string{
		fmt.Sprintf("sent %s = accepted %s + refused %s + unanswered %s",
			integer(c.Sent), integer(c.Accepted), integer(c.Refused), integer(c.Unanswered)),
		fmt.Sprintf("accepted %s = linked %s + dead-lettered %s + missing %s",
			integer(c.Accepted), integer(c.Linked), integer(c.DeadLettered), integer(c.Missing)),
		fmt.Sprintf("doubles %s, orphans %s (%s allowed), waiting %s",
			integer(c.Doubles), integer(c.Orphans), integer(c.OrphansAllowed), integer(c.Waiting)),
	}
	if len(c.Faults) == 0 {
		return append(lines, "It adds up.")
	}
	lines = append(lines, "IT DOES NOT ADD UP:")
	for _, fault := range c.Faults {
		lines = append(lines, "  "+plain(fault))
	}
	return lines
}

func thresholds(judged []load.Threshold) columns {
	if len(judged) == 0 {
		return nil
	}
	rows := columns{{"threshold", "found"}}
	for _, t := range judged {
		verdict := "met"
		if !t.Met {
			verdict = "MISSED"
		}
		rows = append(rows, []string{plain(t.Expression), found(t), verdict})
	}
	return rows
}
