package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"roomlink/internal/load"
	"roomlink/internal/load/plot"
)

// The measures of a plot, in its own units.
const (
	chartWidth  = 500
	chartHeight = 250
	ySteps      = 5
	xSteps      = 6
	// maxPoints is how many points of a line an eye can tell apart on that width.
	maxPoints = 240
)

// chart is a plot of the page.
type chart struct {
	// ID is unlike that of any other on the page.
	ID, Title, Unit string
	// Description says in a sentence what there is to see.
	Description string
	plot.Layout
	// seen is set if there is a value to see.
	seen bool
}

// axes are those of a plot.
type axes struct{ x, y plot.Axis }

// laid lays lines out.
func (c chart) laid(a axes, lines []plot.Line) chart {
	c.Layout = plot.Chart{Width: chartWidth, Height: chartHeight, X: a.x, Y: a.y, Lines: lines}.Lay()
	for _, l := range lines {
		measured := slices.ContainsFunc(l.Points, func(p plot.Point) bool { return !math.IsNaN(p.Y) })
		c.seen = c.seen || l.Class != levelClass && measured
	}
	if !c.seen {
		c.Unit = "nothing measured"
	}
	return c
}

// charts are the plots of a load test, in pairs. A pair with nothing to see is left
// out.
func charts(r load.Result) []chart {
	own, stated := r.FacadeLatency()
	if !stated {
		own = math.NaN()
	}
	all := thinned(r.Series)
	pairs := [][]chart{{
		overTime(kind{
			id: "links-time", title: "From 2xx to links, over time", class: "links", latency: r.Links, facade: own,
			p50: func(s load.Sample) float64 { return s.LinksP50 },
			p99: func(s load.Sample) float64 { return s.LinksP99 },
		}, all),
		curves(kind{
			id: "links-curve", title: "From 2xx to links, by percentile", class: "links",
			latency: r.Links, facade: own,
		}),
	}, {
		overTime(kind{
			id: "answer-time", title: "From due to 2xx, over time", class: "answer", latency: r.Answer, facade: math.NaN(),
			p50: func(s load.Sample) float64 { return s.AnswerP50 },
			p99: func(s load.Sample) float64 { return s.AnswerP99 },
		}, all),
		curves(kind{
			id: "answer-curve", title: "From due to 2xx, by percentile", class: "answer",
			latency: r.Answer, facade: math.NaN(),
		}),
	}, {throughput(all), backlog(all)}}
	return slices.Concat(slices.DeleteFunc(pairs, func(pair []chart) bool { return !pair[0].seen && !pair[1].seen })...)
}

// kind is one of the two latencies.
type kind struct {
	id, title, class string
	latency          load.Latency
	// facade is the facade's own latency, in seconds; NaN where it has no part in it.
	facade   float64
	p50, p99 func(load.Sample) float64
}

func overTime(k kind, all []load.Sample) chart {
	p50, p99 := line("50 %", k.class, all, orGap(k.p50)), line("99 %", k.class+" far", all, orGap(k.p99))
	x := clock(all)
	lines := []plot.Line{p50, p99}
	if facade, there := level("facade", k.facade, x); there {
		lines = append([]plot.Line{facade}, lines...)
	}
	y, unit := latencyAxis(most(lines))
	return chart{
		ID: k.id, Title: k.title, Unit: unit + of(all, ", each second", "; the worst 99 %"),
		Description: fmt.Sprintf("Over the whole, half took at most %s, and 99 %% at most %s.",
			known(seconds, k.latency.P50, k.latency.Count > 0), known(seconds, k.latency.P99, k.latency.Count > 0)),
	}.laid(axes{x, y}, lines)
}

func curves(k kind) chart {
	x := plot.Nines(k.latency.Count)
	var lines []plot.Line
	if facade, there := level("facade", k.facade, x); there {
		lines = append(lines, facade)
	}
	lines = append(lines, plot.Line{Name: "roomlink", Class: k.class + " far", Points: curve(k.latency, x)})
	y, unit := latencyAxis(most(lines))
	return chart{
		ID: k.id, Title: k.title, Unit: unit,
		Description: fmt.Sprintf("99.9 %% took at most %s, and all at most %s. Each further nine takes the same space.",
			known(seconds, k.latency.P999, k.latency.Count > 0), known(seconds, k.latency.Max, k.latency.Count > 0)),
	}.laid(axes{x, y}, lines)
}

// curve are the points of a distribution: those of its curve, or what else is known.
func curve(l load.Latency, x plot.Axis) []plot.Point {
	if l.Count == 0 {
		return nil
	}
	points := l.Curve
	if len(points) == 0 {
		points = []load.Point{
			{Percentile: 50, Value: l.P50},
			{Percentile: 90, Value: l.P90},
			{Percentile: 99, Value: l.P99},
			{Percentile: 99.9, Value: l.P999},
			{Percentile: 100, Value: l.Max},
		}
	}
	var placed []plot.Point
	for _, point := range points {
		placed = append(placed, plot.Point{X: x.Nine(point.Percentile), Y: point.Value})
	}
	return placed
}

// whole leaves the last second out, in which the load test ended: its counts are
// those of a part of it.
func whole(series []load.Sample) []load.Sample {
	if len(series) > 1 {
		return series[:len(series)-1]
	}
	return series
}

func throughput(all []load.Sample) chart {
	counts := whole(all)
	lines := []plot.Line{
		line("sent", "sent", counts, func(s load.Sample) float64 { return float64(s.Sent) }),
		line("accepted", "answer", counts, func(s load.Sample) float64 { return float64(s.Accepted) }),
		line("linked", "links", counts, func(s load.Sample) float64 { return float64(s.Linked) }),
	}
	failed := line("failed", "bad", counts, func(s load.Sample) float64 { return float64(s.Failed) })
	if highest([]plot.Line{failed}) > 0 {
		lines = append(lines, failed)
	}
	return chart{
		ID: "rate", Title: "Events a second", Unit: of(all, "", "average"),
		Description: fmt.Sprintf("At most %s were sent in a second.", count(highest(lines[:1]))),
	}.laid(axes{clock(all), countAxis(most(lines))}, lines)
}

func backlog(all []load.Sample) chart {
	lines := []plot.Line{
		line("in flight", "answer", all, func(s load.Sample) float64 { return float64(s.InFlight) }),
		line("queue", "links", all, func(s load.Sample) float64 {
			if s.Queue < 0 {
				return math.NaN()
			}
			return float64(s.Queue)
		}),
	}
	return chart{
		ID: "queue", Title: "Queue, and requests in flight", Unit: of(all, "at the end of each second", "the most"),
		Description: fmt.Sprintf("The queue held at most %s.", counted(int(highest(lines[1:])), "event")),
	}.laid(axes{clock(all), countAxis(most(lines))}, lines)
}

// orGap makes a gap of a latency of 0: nothing ended in that second.
func orGap(value func(load.Sample) float64) func(load.Sample) float64 {
	return func(s load.Sample) float64 {
		if y := value(s); y != 0 {
			return y
		}
		return math.NaN()
	}
}

// line draws one value of each sample.
func line(name, class string, all []load.Sample, value func(load.Sample) float64) plot.Line {
	l := plot.Line{Name: name, Class: class}
	for _, s := range all {
		l.Points = append(l.Points, plot.Point{X: float64(s.At), Y: value(s)})
	}
	return l
}

// levelClass is that of a line that is no result.
const levelClass = "own"

// level is a line of one value all along.
func level(name string, value float64, x plot.Axis) (plot.Line, bool) {
	if math.IsNaN(value) || value == 0 {
		return plot.Line{}, false
	}
	return plot.Line{Name: name, Class: levelClass, Points: []plot.Point{{X: x.Min, Y: value}, {X: x.Max, Y: value}}}, true
}

// highest is the highest value of lines, and 0 if there is none.
func highest(lines []plot.Line) float64 {
	var found float64
	for _, l := range lines {
		for _, point := range l.Points {
			if point.Y > found { // and not NaN
				found = point.Y
			}
		}
	}
	return found
}

// most is what an axis has to hold: a little more than the highest value.
func most(lines []plot.Line) float64 { return highest(lines) * 1.02 }

func latencyAxis(most float64) (plot.Axis, string) {
	unit, scale := "ms", 1000.0
	if most >= 10 {
		unit, scale = "s", 1
	}
	return plot.Upward(most, 0, ySteps, func(value float64) string {
		if value*scale >= 1e6 {
			return strconv.FormatFloat(value*scale, 'g', 3, 64)
		}
		return thousands(strconv.FormatFloat(math.Round(value*scale*1e6)/1e6, 'f', -1, 64))
	}), unit
}

func countAxis(most float64) plot.Axis {
	return plot.Upward(most, 1, ySteps, func(value float64) string {
		switch {
		case value >= 1e9:
			return strconv.FormatFloat(value, 'g', 3, 64)
		case value >= 1e6:
			return strconv.FormatFloat(value/1e6, 'f', -1, 64) + " M"
		}
		return count(value)
	})
}

func clock(all []load.Sample) plot.Axis {
	var last float64
	if len(all) > 0 {
		last = float64(all[len(all)-1].At)
	}
	return plot.Clock(last, xSteps, func(at float64) string {
		switch {
		case at == 0:
			return "0"
		case last > 3*3600:
			return decimal(at/3600, 0) + " h"
		case last > 300:
			return decimal(at/60, 0) + " min"
		}
		return decimal(at, 0) + " s"
	})
}

// of says what a point stands for: what it is of a second, or of so many.
func of(all []load.Sample, second, span string) string {
	if len(all) < 2 || all[1].At-all[0].At < 2 {
		return second
	}
	return span + " of each " + lasted(float64(all[1].At-all[0].At))
}
