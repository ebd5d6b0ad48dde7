package report

import (
	"fmt"
	"math"

	"roomlink/internal/load"
	"roomlink/internal/load/plot"
)

// The measures of a plot, in its own units.
const (
	chartWidth  = 500
	chartHeight = 250
	ySteps      = 5
	xSteps      = 6
	// maxPoints is the number of points that are distinguishable on that width.
	maxPoints = 240
	// headroom is the end of an axis relative to the highest value.
	headroom = 1.02
)

// chart is a plot of the page.
type chart struct {
	// ID is unique on the page.
	ID, Title, Unit string
	// Description is a sentence for those who cannot see the plot.
	Description string
	plot.Chart
}

// plotted returns the chart with the layout of its lines.
func (c chart) plotted(x, y plot.Axis, lines []plot.Line) chart {
	c.Chart = plot.Chart{Width: chartWidth, Height: chartHeight, X: x, Y: y, Lines: lines}
	c.Layout()
	return c
}

// charts returns the plots of a load test. It leaves out a latency that was not measured.
func charts(r load.Result) []chart {
	all := join(r.Series, maxPoints)
	if len(all) == 0 {
		return nil
	}
	var plots []chart
	if r.Links.Count > 0 {
		links := latencyPlots{
			name: "links", title: "Latency from answer to links", latency: r.Links, facade: r.FacadeLatency(),
			p50: func(s load.Sample) float64 { return s.LinksP50 },
			p99: func(s load.Sample) float64 { return s.LinksP99 },
		}
		plots = append(plots, links.overTime(all), links.byPercentile())
	}
	if r.Answer.Count > 0 {
		answer := latencyPlots{
			name: "answer", title: "Answer latency", latency: r.Answer,
			p50: func(s load.Sample) float64 { return s.AnswerP50 },
			p99: func(s load.Sample) float64 { return s.AnswerP99 },
		}
		plots = append(plots, answer.overTime(all), answer.byPercentile())
	}
	return append(plots, throughput(all), backlog(all))
}

// latencyPlots describe the plots of a latency.
type latencyPlots struct {
	// name is also the class of the lines.
	name, title string
	latency     load.Latency
	// facade is the facade's own latency in seconds; 0 if it is no part of the latency, and NaN if it is unknown.
	facade   float64
	p50, p99 func(load.Sample) float64
}

func (l latencyPlots) overTime(all []load.Sample) chart {
	x := timeAxis(all)
	lines := append(level("facade", l.facade, x),
		line("50 %", l.name, all, l.p50), line("99 %", l.name+" far", all, l.p99))
	y, unit := latencyAxis(lines)
	return chart{
		ID: l.name + "-time", Title: l.title + " over time", Unit: unit + perPoint(all, ", each second", "; the maximum of 99 %"),
		Description: fmt.Sprintf("Over the whole load test, half took at most %s, and 99 %% at most %s.",
			seconds(l.latency.P50), seconds(l.latency.P99)),
	}.plotted(x, y, lines)
}

func (l latencyPlots) byPercentile() chart {
	x := plot.PercentileAxis(l.latency.Count)
	curve := plot.Line{Name: "roomlink", Class: l.name + " far"}
	for _, point := range l.latency.Curve {
		curve.Points = append(curve.Points, plot.Point{X: x.AtPercentile(point.Percentile), Y: point.Value})
	}
	lines := append(level("facade", l.facade, x), curve)
	y, unit := latencyAxis(lines)
	return chart{
		ID: l.name + "-curve", Title: l.title + " by percentile", Unit: unit,
		Description: fmt.Sprintf("99.9 %% took at most %s, and all at most %s. Each further nine takes the same space.",
			seconds(l.latency.P999), seconds(l.latency.Max)),
	}.plotted(x, y, lines)
}

func throughput(all []load.Sample) chart {
	whole := all
	if len(all) > 1 {
		whole = all[:len(all)-1] // the load test ended within the last second
	}
	lines := []plot.Line{
		line("sent", "sent", whole, func(s load.Sample) float64 { return float64(s.Sent) }),
		line("accepted", "answer", whole, func(s load.Sample) float64 { return float64(s.Accepted) }),
		line("linked", "links", whole, func(s load.Sample) float64 { return float64(s.Linked) }),
	}
	failed := line("failed", "bad", whole, func(s load.Sample) float64 { return float64(s.Failed) })
	if highest(failed) > 0 {
		lines = append(lines, failed)
	}
	return chart{
		ID: "rate", Title: "Events per second", Unit: perPoint(all, "", "average"),
		Description: fmt.Sprintf("At most %s were sent in a second.", count(highest(lines[0]))),
	}.plotted(timeAxis(all), countAxis(lines), lines)
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
		ID: "queue", Title: "Queue, and requests in flight", Unit: perPoint(all, "at the end of each second", "maximum"),
		Description: fmt.Sprintf("The queue held at most %s.", counted(int(highest(lines[1])), "event")),
	}.plotted(timeAxis(all), countAxis(lines), lines)
}

// line is a line with one value of each sample.
func line(name, class string, all []load.Sample, value func(load.Sample) float64) plot.Line {
	l := plot.Line{Name: name, Class: class}
	for _, s := range all {
		l.Points = append(l.Points, plot.Point{X: float64(s.At), Y: value(s)})
	}
	return l
}

// level returns a horizontal line; none for a value that is 0 or NaN.
func level(name string, value float64, x plot.Axis) []plot.Line {
	if value > 0 {
		return []plot.Line{{Name: name, Class: "own", Points: []plot.Point{{X: 0, Y: value}, {X: x.Max, Y: value}}}}
	}
	return nil
}

// highest returns the highest value of the lines; 0 if there is none.
func highest(lines ...plot.Line) float64 {
	var found float64
	for _, l := range lines {
		for _, point := range l.Points {
			if point.Y > found { // false for NaN
				found = point.Y
			}
		}
	}
	return found
}

func latencyAxis(lines []plot.Line) (axis plot.Axis, unit string) {
	end, unit, factor := highest(lines...)*headroom, "ms", 1000.0
	if end >= 10 {
		unit, factor = "s", 1
	}
	return plot.ValueAxis(end, 0, ySteps, func(value float64) string {
		return english.Sprint(math.Round(value*factor*1e6) / 1e6)
	}), unit
}

func countAxis(lines []plot.Line) plot.Axis {
	return plot.ValueAxis(highest(lines...)*headroom, 1, ySteps, func(value float64) string {
		if value >= 1e6 {
			return english.Sprint(value/1e6) + " M"
		}
		return count(value)
	})
}

func timeAxis(all []load.Sample) plot.Axis {
	last := float64(all[len(all)-1].At)
	return plot.TimeAxis(last, xSteps, func(at float64) string {
		switch {
		case at == 0:
			return "0"
		case last > 3*3600:
			return count(at/3600) + " h"
		case last > 300:
			return count(at/60) + " min"
		}
		return count(at) + " s"
	})
}

// perPoint describes what a point stands for: second if it is a second, else joined and the length of the
// joined time.
func perPoint(all []load.Sample, second, joined string) string {
	if len(all) < 2 || all[1].At-all[0].At < 2 {
		return second
	}
	return joined + " of each " + duration(float64(all[1].At-all[0].At))
}
