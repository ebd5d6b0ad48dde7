package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"roomlink/internal/load"
)

//go:embed pages/*.html
var pageFiles embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"counted": counted, "cpu": cpu, "duration": unbroken(duration), "found": found, "integer": integer, "keyFigure": newKeyFigure,
	"machine": machine, "rate": rate, "rounded": rounded, "seconds": seconds, "size": size, "sum": sum,
	"wholeSeconds": unbroken(wholeSeconds),
}).ParseFS(pageFiles, "pages/*.html"))

// maxSeconds bounds the rows of the table over time.
const maxSeconds = 60

// page is the data of the page. Its templates format the result.
type page struct {
	load.Result
	Charts []chart
	Tables []table
	Facts  []string
	// Seconds are the numbers behind the plots over time, and SecondsCaption says how they were joined.
	Seconds        []load.Sample
	SecondsCaption string
}

// table is a table with its caption.
type table struct {
	Caption string
	Rows    rows
}

// HTML writes the result of a load test as a page: a sentence that says how it went, the main figures, plots,
// the reconciliation and all numbers behind them. It returns the error of the writer.
func HTML(w io.Writer, r load.Result) error {
	p := page{
		Result: r, Charts: charts(r), Facts: requests(r), Seconds: join(r.Series, maxSeconds),
		Tables: []table{{"Throughput", rates(r)}, {"Latency", latencies(r)}, {"CPU and memory", parts(r)}},
	}
	p.SecondsCaption = perPoint(p.Seconds, "Each second", "Averages, and the maximum of 99 %, in flight and queue,")
	if err := pages.ExecuteTemplate(w, "report.html", &p); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// keyFigure is one of the figures at the top.
type keyFigure struct{ Name, Number, Unit string }

// newKeyFigure splits a formatted value into number and unit.
func newKeyFigure(name, value string) keyFigure {
	number, unit, _ := strings.Cut(value, " ")
	if number == none {
		unit = ""
	}
	return keyFigure{name, number, unit}
}

// unbroken returns a format that keeps a unit on the line of its number.
func unbroken(format func(float64) string) func(float64) string {
	return func(value float64) string { return strings.ReplaceAll(format(value), " ", "\u00a0") }
}

// sum returns the sum of some counts.
func sum(counts ...int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}
