// Package plot lays out line plots: it turns values into places on a sheet, with
// round ticks, and names that stand beside their lines without covering each other.
// A template of whoever shows the plot draws it, as SVG, so that every text passes
// through that template's escaping and every colour is that of its page.
package plot

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The measures of a sheet, in its own units, in which text is 12 high.
const (
	// charWidth is that of a bold digit.
	charWidth = 7.7
	lineGap   = 14.0
	top       = 12.0
	bottom    = 26.0
	gap       = 8.0
	// valueWidth and nameWidth are the least room for values and names: with them,
	// plots below each other have their axes below each other.
	valueWidth = 5 * charWidth
	nameWidth  = 9 * charWidth
)

// Chart is a line plot.
type Chart struct {
	// Width and Height are those of the sheet; text on it is 12 high.
	Width, Height float64
	X, Y          Axis
	// Lines are drawn in their order, the last on top.
	Lines []Line
}

// Axis is a range of values, with the ticks that are labelled. Max is above Min.
type Axis struct {
	Min, Max float64
	Ticks    []Tick
}

// Tick is a labelled value.
type Tick struct {
	Value float64
	Label string
}

// Line is a row of points, by rising X. A Y of NaN is a gap.
type Line struct {
	// Name stands at the end of the line, and Class tells the template how it looks.
	Name, Class string
	Points      []Point
}

// Point is one point of a line, in values of the axes.
type Point struct{ X, Y float64 }

// Layout is a chart on its sheet.
type Layout struct {
	Width, Height Coordinate
	// Left, Top, Right and Bottom bound what the axes span.
	Left, Top, Right, Bottom Coordinate
	XTicks, YTicks           []Mark
	Lines                    []Drawn
}

// Mark is a tick on the sheet, along its axis.
type Mark struct {
	At    Coordinate
	Label string
}

// Drawn is a line on the sheet.
type Drawn struct {
	Name, Class string
	// Path is the data of an SVG path.
	Path string
	// Dots are points between two gaps, which a path would not show.
	Dots []Dot
	// NameX and NameY are where the name begins, at the middle of its height.
	NameX, NameY Coordinate
}

// Dot is a place on the sheet.
type Dot struct{ X, Y Coordinate }

// Coordinate is a length on the sheet.
type Coordinate float64

// String writes a coordinate with a decimal, which is as much as an eye can see.
func (c Coordinate) String() string {
	return strconv.FormatFloat(math.Round(float64(c)*10)/10, 'f', -1, 64)
}

// Lay lays a chart out.
func (c Chart) Lay() Layout {
	values, names := valueWidth, nameWidth
	for _, tick := range c.Y.Ticks {
		values = max(values, textWidth(tick.Label))
	}
	for _, line := range c.Lines {
		names = max(names, textWidth(line.Name))
	}
	l := Layout{
		Width: Coordinate(c.Width), Height: Coordinate(c.Height),
		Left: Coordinate(values + gap), Top: top,
		Right: Coordinate(c.Width - names - gap), Bottom: Coordinate(c.Height - bottom),
	}
	for _, tick := range c.X.Ticks {
		l.XTicks = append(l.XTicks, Mark{l.x(c.X, tick.Value), tick.Label})
	}
	for _, tick := range c.Y.Ticks {
		l.YTicks = append(l.YTicks, Mark{l.y(c.Y, tick.Value), tick.Label})
	}
	for _, line := range c.Lines {
		l.Lines = append(l.Lines, l.draw(c, line))
	}
	l.spread()
	return l
}

func textWidth(text string) float64 { return float64(len([]rune(text))) * charWidth }

func (l Layout) x(axis Axis, value float64) Coordinate {
	return l.Left + (l.Right-l.Left)*Coordinate(axis.share(value))
}

func (l Layout) y(axis Axis, value float64) Coordinate {
	return l.Bottom - (l.Bottom-l.Top)*Coordinate(axis.share(value))
}

// share is how far along the axis a value lies, from 0 to 1.
func (a Axis) share(value float64) float64 {
	if a.Max <= a.Min {
		return 0
	}
	return min(1, max(0, (value-a.Min)/(a.Max-a.Min)))
}

func (l Layout) draw(c Chart, line Line) Drawn {
	drawn := Drawn{Name: line.Name, Class: line.Class, NameX: l.Right + gap, NameY: l.Bottom}
	var path strings.Builder
	var run []Dot
	end := func() {
		switch len(run) {
		case 0:
		case 1:
			drawn.Dots = append(drawn.Dots, run[0])
		default:
			for i, dot := range run {
				path.WriteByte("ML"[min(i, 1)])
				path.WriteString(dot.X.String() + " " + dot.Y.String())
			}
		}
		run = run[:0]
	}
	for _, point := range line.Points {
		if math.IsNaN(point.Y) {
			end()
			continue
		}
		dot := Dot{l.x(c.X, point.X), l.y(c.Y, point.Y)}
		drawn.NameY = dot.Y
		run = append(run, dot)
	}
	end()
	drawn.Path = path.String()
	return drawn
}

// spread moves names apart that would cover each other, and into the sheet.
func (l Layout) spread() {
	order := make([]*Drawn, len(l.Lines))
	for i := range l.Lines {
		order[i] = &l.Lines[i]
	}
	slices.SortStableFunc(order, func(a, b *Drawn) int { return cmp.Compare(a.NameY, b.NameY) })
	lowest := l.Top - lineGap
	for _, drawn := range order {
		drawn.NameY = max(drawn.NameY, lowest+lineGap)
		lowest = drawn.NameY
	}
	highest := l.Bottom + lineGap
	for _, drawn := range slices.Backward(order) {
		drawn.NameY = min(drawn.NameY, highest-lineGap)
		highest = drawn.NameY
	}
}
