package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"roomlink/internal/load"
)

//go:embed pages/*.html
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// maxSeconds bounds the rows of the table over time.
const maxSeconds = 60

// HTML writes the result of a load test as a page: a sentence that says how it went, the main figures, plots,
// the reconciliation and all numbers behind them. It returns the error of the writer.
func HTML(w io.Writer, r load.Result) error {
	if err := pages.ExecuteTemplate(w, "report.html", viewOf(r)); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// view is the data of the page.
type view struct {
	Passed     bool
	Headline   string
	Date       string
	Version    string
	Machine    string
	Figures    []keyFigure
	Charts     []chart
	Tables     []table
	Equations  []equation
	Mistakes   []term
	Faults     []string
	Thresholds []threshold
	Facts      []string
	Settings   map[string]string
	Seconds    table
}

// keyFigure is one of the figures at the top.
type keyFigure struct{ Value, Unit, Name string }

// table is a table with a head.
type table struct {
	Caption string
	Head    []string
	Rows    []row
}

// row is a row of a table. Sub means that it details the row before.
type row struct {
	Sub   bool
	Name  string
	Cells []string
}

// equation is a line of the reconciliation: Sum = Terms.
type equation struct {
	Sum   term
	Terms []term
	Holds bool
}

// term is a count of conversations. Bad means that it must not be what it is.
type term struct {
	Count, Name string
	Bad         bool
}

type threshold struct {
	Expression, Found string
	Met               bool
}

// unbroken keeps units on the line of their numbers.
var unbroken = strings.NewReplacer(" %", "\u00a0%", " ms", "\u00a0ms", " s:", "\u00a0s:", " s,", "\u00a0s,",
	" min:", "\u00a0min:", " min,", "\u00a0min,", " h:", "\u00a0h:", " h,", "\u00a0h,")

func viewOf(r load.Result) view {
	v := view{
		Passed:   r.Passed() && r.Reconciliation.Sent > 0,
		Headline: unbroken.Replace(headline(r)), Version: r.Version, Machine: machine(r.Machine),
		Figures: keyFigures(r), Charts: charts(r),
		Tables:    []table{newTable("Throughput", rates(r)), newTable("Latency", latencies(r))},
		Equations: equations(r.Reconciliation), Mistakes: mistakes(r), Faults: r.Reconciliation.Faults,
		Facts: requests(r), Settings: r.Settings, Seconds: secondBySecond(r.Series),
	}
	if !r.StartedAt.IsZero() {
		v.Date = r.StartedAt.UTC().Format("2 January 2006, 15:04 MST")
	}
	if r.Machine.Go != "" {
		v.Machine += ", " + r.Machine.Go
	}
	if len(r.Parts) > 0 {
		v.Tables = append(v.Tables, newTable("CPU and memory", parts(r)))
	}
	for _, t := range r.Thresholds {
		v.Thresholds = append(v.Thresholds, threshold{t.Expression, found(t), t.Met})
	}
	return v
}

func keyFigures(r load.Result) []keyFigure {
	perThousand, hasCPU := r.CPUPerThousand()
	peak, hasMemory := r.PeakMemory()
	hasLinks := r.Links.Count > 0
	figures := []keyFigure{
		newKeyFigure("events accepted per second", rate(r.AcceptedPerSecond)),
		newKeyFigure("from answer to links, 50\u00a0%", known(seconds, r.Links.P50, hasLinks)),
		newKeyFigure("from answer to links, 99\u00a0%", known(seconds, r.Links.P99, hasLinks)),
		newKeyFigure("CPU per 1,000 events, all parts", known(cpu, perThousand, hasCPU)+" s"),
		newKeyFigure("peak memory of the largest part", known(size[float64], peak, hasMemory)),
	}
	if r.Drain > 0 { // the time to the links includes the wait for the worker
		figures[1] = newKeyFigure("answer latency, 99\u00a0%", known(seconds, r.Answer.P99, r.Answer.Count > 0))
		figures[2] = newKeyFigure("to drain the queue", seconds(r.Drain))
	}
	return figures
}

// newKeyFigure splits a formatted value into number and unit.
func newKeyFigure(name, value string) keyFigure {
	number, unit, _ := strings.Cut(value, " ")
	if number == none {
		unit = ""
	}
	return keyFigure{number, unit, name}
}

// newTable makes a table of columns. The first row is the head.
func newTable(caption string, rows columns) table {
	t := table{Caption: caption, Head: rows[0]}
	for _, cells := range rows[1:] {
		name := strings.TrimLeft(cells[0], " ")
		filled := append(slices.Clone(cells[1:]), make([]string, len(t.Head)-len(cells))...)
		t.Rows = append(t.Rows, row{Sub: name != cells[0], Name: name, Cells: filled})
	}
	return t
}

func newTerm(count int, name string, bad bool) term { return term{integer(count), name, bad} }

// mistakes counts what a correct system does not do.
func mistakes(r load.Result) []term {
	c := r.Reconciliation
	return []term{
		newTerm(c.Missing, "missing", c.Missing > 0),
		newTerm(c.Doubles, "with two sets of links", c.Doubles > 0),
		newTerm(c.Orphans, "orphan rooms ("+integer(c.OrphansAllowed)+" explained)", c.Orphans > c.OrphansAllowed),
		newTerm(c.Waiting, "still in the queue", c.Waiting > 0),
		newTerm(r.Facade.TicketFetches, "tickets fetched", r.Facade.TicketFetches > 0),
	}
}

func equations(c load.Reconciliation) []equation {
	return []equation{
		{newTerm(c.Sent, "sent", false), []term{
			newTerm(c.Accepted, "accepted", false), newTerm(c.Refused, "refused", false), newTerm(c.Unanswered, "unanswered", false),
		}, c.Sent == c.Accepted+c.Refused+c.Unanswered},
		{newTerm(c.Accepted, "accepted", false), []term{
			newTerm(c.Linked, "linked", false), newTerm(c.DeadLettered, "dead-lettered", false),
		}, c.Accepted == c.Linked+c.DeadLettered},
	}
}

// secondBySecond returns the numbers behind the plots over time.
func secondBySecond(series []load.Sample) table {
	all := join(series, maxSeconds)
	rows := columns{{
		"at", "sent", "accepted", "linked", "failed", "in flight", "queue", "answer, 50 %", "answer, 99 %", "links, 50 %", "links, 99 %",
	}}
	for _, s := range all {
		cells := []string{integer(s.At) + " s"}
		for _, n := range []int{s.Sent, s.Accepted, s.Linked, s.Failed, s.InFlight} {
			cells = append(cells, integer(n))
		}
		cells = append(cells, known(count, float64(s.Queue), s.Queue >= 0))
		for _, latency := range []float64{s.AnswerP50, s.AnswerP99, s.LinksP50, s.LinksP99} {
			cells = append(cells, known(seconds, latency, latency > 0))
		}
		rows = append(rows, cells)
	}
	return newTable(perPoint(all, "Each second", "Averages, and the maximum of 99 %, in flight and queue,"), rows)
}
