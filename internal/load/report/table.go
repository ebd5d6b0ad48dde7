package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"roomlink/internal/load"
)

// Table writes the closing table of a load test, for a terminal. Latencies are in
// ms or s, sizes in MB of 10⁶ bytes. It returns the errors of the writer.
func Table(w io.Writer, r load.Result) error {
	p := newPage(w)
	p.table(rates(r))
	p.table(latencies(r))
	if len(r.Parts) > 0 {
		p.table(parts(r))
	}
	p.block()
	for _, line := range slices.Concat(requests(r), reconciled(r.Reconciliation)) {
		p.line(line)
	}
	if len(r.Thresholds) > 0 {
		p.table(thresholds(r.Thresholds))
	}
	return p.close()
}

func rates(r load.Result) columns {
	return columns{
		{"over " + lasted(r.Duration), "roomlink"},
		{"accepted a second", rate(r.AcceptedPerSecond)},
		{"linked a second", rate(r.LinkedPerSecond)},
	}
}

func latencies(r load.Result) columns {
	head := []string{"latency"}
	for _, q := range quantiles {
		head = append(head, q.name)
	}
	rows := columns{head}
	rows = append(rows, latency("2xx", r.Answer), latency("2xx to links", r.Links))
	if added, known := r.Added(); known {
		if own, _ := r.FacadeLatency(); own > 0 {
			rows = append(rows, latency("  over the facade's "+about(own), added))
		}
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

// parts are a row for each part, and one for their sum.
func parts(r load.Result) columns {
	rows := columns{{"part", "CPU seconds", "for 1,000 events", "peak memory"}}
	var used, perThousand float64
	for _, part := range r.Parts {
		used += part.CPUSeconds
		perThousand += part.CPUPerThousand
		rows = append(rows, []string{plain(part.Name), cpu(part.CPUSeconds), cpu(part.CPUPerThousand), size(part.PeakMemory)})
	}
	if len(r.Parts) > 1 {
		rows = append(rows, []string{"together", cpu(used), cpu(perThousand)})
	}
	return rows
}

// requests are lines about what was asked of the webhook and of the facade.
func requests(r load.Result) []string {
	q, f := r.Requests, r.Facade
	var statuses []string
	for _, status := range slices.Sorted(maps.Keys(q.Statuses)) {
		statuses = append(statuses, fmt.Sprintf("%s × %d", integer(q.Statuses[status]), status))
	}
	refused := ""
	if len(statuses) > 0 {
		refused = " (" + strings.Join(statuses, ", ") + ")"
	}
	lines := []string{
		fmt.Sprintf("requests: %s sent, %s accepted, %s known already, %s refused%s, %s unanswered, %s late", integer(q.Sent),
			integer(q.Accepted), integer(q.Duplicates), integer(q.Refused), refused, integer(q.Failed), integer(q.Late)),
	}
	if f.Counted {
		lines = append(lines, fmt.Sprintf("facade: %s (%s failed), %s, %s, %s fetched", counted(f.Calls, "call"),
			integer(f.Failed), counted(f.Rooms, "room"), counted(f.TokenCalls, "token call"), counted(f.TicketFetches, "ticket")))
	}
	if r.Drain > 0 {
		lines = append(lines, "drain: "+seconds(r.Drain)+" from the start of a worker that came late to the last links")
	}
	if r.Kills > 0 {
		lines = append(lines, fmt.Sprintf("chaos: %s", counted(r.Kills, "kill")))
	}
	return lines
}

// reconciled are the lines of the reconciliation, in conversations.
func reconciled(c load.Reconciliation) []string {
	lines := []string{
		"",
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
	rows := columns{{"threshold", "found", ""}}
	for _, t := range judged {
		verdict := "met"
		if !t.Met {
			verdict = "MISSED"
		}
		rows = append(rows, []string{plain(t.Expression), found(t), verdict})
	}
	return rows
}
