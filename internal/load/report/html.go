package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"

	"roomlink/internal/load"
)

//go:embed pages/*.html
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// maxSeconds is how many rows the table of what was seen over time has.
const maxSeconds = 60

// HTML writes a load test as one page that is whole in itself: a sentence that says
// whether it held, the main figures, plots, the reconciliation and all the numbers
// behind them. It returns the errors of the writer.
func HTML(w io.Writer, r load.Result) error {
	if err := pages.ExecuteTemplate(w, "report.html", viewOf(r)); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// view is what the page shows.
type view struct {
	Held     bool
	Headline string
	Date     string
	Version  string
	Machine  string
	Figures  []keyFigure
	// Charts come in pairs.
	Charts    []chart
	Tables    []table
	Equations []equation
	// Wrongs are counts that should be 0, and Faults what does not add up.
	Wrongs     []term
	Faults     []string
	Thresholds []threshold
	Facts      []string
	Settings   []setting
	Seconds    table
}

// keyFigure is one of the figures at the top.
type keyFigure struct{ Value, Unit, Of string }

// table is one with a head.
type table struct {
	Caption string
	Head    []string
	Rows    []row
}

// row is one of a table. Sub is set if it belongs to the row before it.
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

// term is a count of conversations. Bad is set if there should be none.
type term struct {
	Count, Name string
	Bad         bool
}

type threshold struct {
	Expression, Found string
	Met               bool
}

type setting struct{ Name, Value string }

// unbroken keeps units on the line of their numbers.
var unbroken = strings.NewReplacer(" %", "\u00a0%", " ms", "\u00a0ms", " s:", "\u00a0s:", " s,", "\u00a0s,",
	" min:", "\u00a0min:", " min,", "\u00a0min,", " h:", "\u00a0h:", " h,", "\u00a0h,")

func viewOf(r load.Result) view {
	v := view{
		Held: r.Passed() && r.Reconciliation.Sent > 0, Headline: unbroken.Replace(headline(r)), Version: r.Version, Machine: machine(r.Machine),
		Figures: keyFigures(r), Charts: charts(r),
		Tables:    []table{tabled("Events", rates(r)), tabled("Latency", latencies(r))},
		Equations: equations(r.Reconciliation), Wrongs: wrongs(r), Faults: r.Reconciliation.Faults,
		Facts: requests(r), Seconds: secondBySecond(r.Series),
	}
	if !r.StartedAt.IsZero() {
		v.Date = r.StartedAt.UTC().Format("2 January 2006, 15:04 MST")
	}
	if r.Machine.Go != "" {
		v.Machine += ", " + r.Machine.Go
	}
	if len(r.Parts) > 0 {
		v.Tables = append(v.Tables, tabled("CPU and memory", parts(r)))
	}
	for _, t := range r.Thresholds {
		v.Thresholds = append(v.Thresholds, threshold{t.Expression, found(t), t.Met})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Settings)) {
		v.Settings = append(v.Settings, setting{name, r.Settings[name]})
	}
	return v
}

func keyFigures(r load.Result) []keyFigure {
	perThousand, hasCPU := r.CPUPerThousand()
	peak, hasMemory := r.PeakMemory()
	hasLinks := r.Links.Count > 0
	figures := []keyFigure{
		split(rate(r.AcceptedPerSecond), "events accepted a second"),
		split(known(seconds, r.Links.P50, hasLinks), "half of the links, from the 2xx"),
		split(known(seconds, r.Links.P99, hasLinks), "99 % of the links, from the 2xx"),
		split(known(cpu, perThousand, hasCPU)+" s", "CPU for 1,000 events, all parts"),
		split(known(size[float64], peak, hasMemory), "peak memory of the largest part"),
	}
	if r.Drain > 0 { // what waited for its worker says nothing of how fast that is
		figures[1] = split(known(seconds, r.Answer.P99, r.Answer.Count > 0), "99 % of the 2xx, from due")
		figures[2] = split(seconds(r.Drain), "to work off what waited")
	}
	return figures
}

// split takes the unit off a value.
func split(value, of string) keyFigure {
	number, unit, _ := strings.Cut(value, " ")
	if number == none {
		unit = ""
	}
	return keyFigure{number, unit, of}
}

// tabled makes a table of columns, whose first row is its head.
func tabled(caption string, rows columns) table {
	t := table{Caption: caption, Head: rows[0]}
	for _, cells := range rows[1:] {
		name := strings.TrimLeft(cells[0], " ")
		filled := append(slices.Clone(cells[1:]), make([]string, len(t.Head)-len(cells))...)
		t.Rows = append(t.Rows, row{Sub: name != cells[0], Name: name, Cells: filled})
	}
	return t
}

// number is a term.
func number(count int, name string, bad bool) term { return term{integer(count), name, bad} }

// wrongs are counts of what should not be.
func wrongs(r load.Result) []term {
	c := r.Reconciliation
	return []term{
		number(c.Missing, "missing", c.Missing > 0),
		number(c.Doubles, "with two sets of links", c.Doubles > 0),
		number(c.Orphans, "orphan rooms ("+integer(c.OrphansAllowed)+" explained)", c.Orphans > c.OrphansAllowed),
		number(c.Waiting, "still in the queue", c.Waiting > 0),
		number(r.Facade.TicketFetches, "tickets fetched", r.Facade.TicketFetches > 0),
	}
}

func equations(c load.Reconciliation) []equation {
	return []equation{
		{number(c.Sent, "sent", false), []term{
			number(c.Accepted, "accepted", false), number(c.Refused, "refused", false), number(c.Unanswered, "unanswered", false),
		}, c.Sent == c.Accepted+c.Refused+c.Unanswered},
		{number(c.Accepted, "accepted", false), []term{
			number(c.Linked, "linked", false), number(c.DeadLettered, "dead-lettered", false),
		}, c.Accepted == c.Linked+c.DeadLettered},
	}
}

// secondBySecond are the numbers behind the plots over time.
func secondBySecond(series []load.Sample) table {
	all := joined(series, maxSeconds)
	t := table{
		Caption: of(all, "Each second", "Averages, and the worst 99 %, queue and in flight,"),
		Head: []string{
			"at", "sent", "accepted", "linked", "failed", "in flight", "queue", "2xx, 50 %", "2xx, 99 %", "links, 50 %", "links, 99 %",
		},
	}
	for _, s := range all {
		cells := []string{integer(s.Sent), integer(s.Accepted), integer(s.Linked), integer(s.Failed), integer(s.InFlight)}
		cells = append(cells, known(count, float64(s.Queue), s.Queue >= 0))
		for _, latency := range []float64{s.AnswerP50, s.AnswerP99, s.LinksP50, s.LinksP99} {
			cells = append(cells, known(seconds, latency, latency > 0))
		}
		t.Rows = append(t.Rows, row{Name: integer(s.At) + " s", Cells: cells})
	}
	return t
}
