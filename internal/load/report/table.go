package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"roomlink/internal/load"
)

// rows are the rows of a table with their cells. The first row is the head.
type rows [][]string

// lines returns the rows as lines. The first column is aligned left, the others right.
func (r rows) lines() []string {
	widths := map[int]int{}
	for _, cells := range r {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var lines []string
	for _, cells := range r {
		aligned := []string{fmt.Sprintf("%-*s", widths[0], cells[0])}
		for i, cell := range cells[1:] {
			aligned = append(aligned, fmt.Sprintf("%*s", widths[i+1], cell))
		}
		lines = append(lines, strings.TrimRight(strings.Join(aligned, "  "), " "))
	}
	return lines
}

// write writes blocks of lines with a blank line between two blocks. It leaves out empty blocks.
func write(w io.Writer, blocks ...[]string) error {
	var texts []string
	for _, lines := range blocks {
		if len(lines) > 0 {
			texts = append(texts, strings.Join(lines, "\n")+"\n")
		}
	}
	if _, err := io.WriteString(w, strings.Join(texts, "\n")); err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	return nil
}

// Table writes the result of a load test for a terminal. Latencies are in ms or s, sizes in MB of 10⁶ bytes. It
// returns the error of the writer.
func Table(w io.Writer, r load.Result) error {
	return write(w, rates(r).lines(), latencies(r).lines(), parts(r).lines(), requests(r),
		reconciliation(r.Reconciliation), thresholds(r.Thresholds).lines())
}

func rates(r load.Result) rows {
	return rows{
		{"events per second", "over " + duration(r.Duration)},
		{"accepted", rate(r.AcceptedPerSecond)},
		{"linked", rate(r.LinkedPerSecond)},
	}
}

func latencies(r load.Result) rows {
	head := []string{"latency"}
	for _, p := range r.Answer.Percentiles() {
		head = append(head, percent(p))
	}
	all := rows{head, latency("answer", r.Answer, 0), latency("answer to links", r.Links, 0)}
	if facade := r.FacadeLatency(); facade > 0 && r.Links.Count > 0 {
		all = append(all, latency("  without the facade's "+wholeSeconds(facade), r.Links, facade))
	}
	return all
}

func percent(p load.Point) string { return fmt.Sprintf("%v %%", p.Percentile) }

// latency returns the row of a latency without a part of it.
func latency(name string, l load.Latency, part float64) []string {
	row := []string{name}
	for _, p := range l.Percentiles() {
		row = append(row, seconds(max(0, p.Value-part)))
	}
	return row
}

// parts has a row for each part and one for the total.
func parts(r load.Result) rows {
	if len(r.Parts) == 0 {
		return nil
	}
	all := rows{{"part", "CPU seconds", "per 1,000 events", "peak memory"}}
	var used float64
	for _, part := range r.Parts {
		used += part.CPUSeconds
		all = append(all, []string{
			plain(part.Name), cpu(part.CPUSeconds), cpu(part.CPUPerThousand), size(float64(part.PeakMemory)),
		})
	}
	if len(r.Parts) > 1 {
		all = append(all, []string{"total", cpu(used), cpu(r.CPUPerThousand()), ""})
	}
	return all
}

// requests returns lines about the requests to the webhook and to the facade.
func requests(r load.Result) []string {
	q, f := r.Requests, r.Facade
	refused := integer(q.Refused) + " refused"
	var statuses []string
	for _, status := range slices.Sorted(maps.Keys(q.Statuses)) {
		statuses = append(statuses, fmt.Sprintf("%s × %d", integer(q.Statuses[status]), status))
	}
	if len(statuses) > 0 {
		refused += " (" + strings.Join(statuses, ", ") + ")"
	}
	lines := []string{english.Sprintf("requests: %d sent, %d accepted, %s, %s, %d unanswered, %d late",
		q.Sent, q.Accepted, counted(q.Duplicates, "duplicate"), refused, q.Failed, q.Late)}
	if f.Counted {
		lines = append(lines, english.Sprintf("facade: %s (%d failed), %s, %s, %s fetched", counted(f.Calls, "call"),
			f.Failed, counted(f.Rooms, "room"), counted(f.TokenCalls, "token call"), counted(f.TicketFetches, "ticket")))
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
		english.Sprintf("sent %d = accepted %d + refused %d + unanswered %d", c.Sent, c.Accepted, c.Refused, c.Unanswered),
		english.Sprintf("accepted %d = linked %d + dead-lettered %d + missing %d", c.Accepted, c.Linked, c.DeadLettered, c.Missing),
		english.Sprintf("doubles %d, orphans %d (%d allowed), waiting %d", c.Doubles, c.Orphans, c.OrphansAllowed, c.Waiting),
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

func thresholds(judged []load.Threshold) rows {
	if len(judged) == 0 {
		return nil
	}
	all := rows{{"threshold", "found"}}
	for _, t := range judged {
		verdict := "met"
		if !t.Met {
			verdict = "MISSED"
		}
		all = append(all, []string{plain(t.Expression), found(t), verdict})
	}
	return all
}
