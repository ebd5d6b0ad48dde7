// Package plot computes the layout of line plots: it turns values into positions on a sheet, with round ticks
// and names beside the lines that do not overlap. It draws nothing. The page that shows a plot draws it as SVG
// in its own template, so that the template escapes every text and styles every line.
package plot

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The measures of a sheet, in its own units. Text is 12 units high.
const (
	charWidth = 7.7 // of a bold digit
	lineGap   = 14.0
	top       = 12.0
	bottom    = 26.0
	gap       = 8.0
	// minLabelWidth and minNameWidth align the axes of plots that stand below each other.
	minLabelWidth = 5 * charWidth
	minNameWidth  = 9 * charWidth
)

// Chart is a line plot.
type Chart struct {
	// Width and Height are those of the sheet, in units of which text is 12 high.
	Width, Height float64
	X, Y          Axis
	// Lines are drawn in order, the last one on top.
	Lines []Line
}

// Axis is a range of values with labelled ticks.
type Axis struct {
	Min, Max float64
	Ticks    []Tick
}

// Tick is a labelled value.
type Tick struct {
	Value float64
	Label string
}

// Line is a series of points with rising X.
type Line struct {
	// Name stands at the end of the line. Class tells the template how to style it.
	Name, Class string
	// Points with a Y of NaN are gaps.
	Points []Point
}

// Point is a point of a line, in values of the axes.
type Point struct{ X, Y float64 }

// Layout is a chart in coordinates of its sheet.
type Layout struct {
	Width, Height Coordinate
	// Left, Top, Right and Bottom are the edges of the area between the axes.
	Left, Top, Right, Bottom Coordinate
	XTicks, YTicks           []Mark
	Lines                    []Drawn
}

// Mark is a tick at its position along an axis.
type Mark struct {
	At    Coordinate
	Label string
}

// Drawn is a line in coordinates.
type Drawn struct {
	Name, Class string
	// Path is the "d" attribute of an SVG path.
	Path string
	// Dots are points between two gaps, which a path does not show.
	Dots []Dot
	// NameX and NameY are the left end and the middle of the name.
	NameX, NameY Coordinate
}

// Dot is a position on the sheet.
type Dot struct{ X, Y Coordinate }

// Coordinate is a length on the sheet.
type Coordinate float64

// String returns the coordinate with at most one decimal.
func (c Coordinate) String() string {
	return strconv.FormatFloat(math.Round(float64(c)*10)/10, 'f', -1, 64)
}

// Layout computes the layout of the chart.
func (c Chart) Layout() Layout {
	labels, names := minLabelWidth, minNameWidth
	for _, tick := range c.Y.Ticks {
		labels = max(labels, textWidth(tick.Label))
	}
	for _, line := range c.Lines {
		names = max(names, textWidth(line.Name))
	}
	l := Layout{
		Width: Coordinate(c.Width), Height: Coordinate(c.Height),
		Left: Coordinate(labels + gap), Top: top,
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
	l.spreadNames()
	return l
}

func textWidth(text string) float64 { return float64(len([]rune(text))) * charWidth }

func (l Layout) x(axis Axis, value float64) Coordinate {
	return l.Left + (l.Right-l.Left)*Coordinate(axis.fraction(value))
}

func (l Layout) y(axis Axis, value float64) Coordinate {
	return l.Bottom - (l.Bottom-l.Top)*Coordinate(axis.fraction(value))
}

// fraction returns the position of a value on the axis, from 0 to 1.
func (a Axis) fraction(value float64) float64 {
	if a.Max <= a.Min {
		return 0
	}
	return min(1, max(0, (value-a.Min)/(a.Max-a.Min)))
}

func (l Layout) draw(c Chart, line Line) Drawn {
	drawn := Drawn{Name: line.Name, Class: line.Class, NameX: l.Right + gap, NameY: l.Bottom}
	var path strings.Builder
	isGap := func(i int) bool { return i < 0 || i >= len(line.Points) || math.IsNaN(line.Points[i].Y) }
	for i, point := range line.Points {
		dot := Dot{l.x(c.X, point.X), l.y(c.Y, point.Y)}
		switch {
		case isGap(i):
			continue
		case isGap(i-1) && isGap(i+1):
			drawn.Dots = append(drawn.Dots, dot)
		case isGap(i - 1):
			path.WriteString("M" + dot.X.String() + " " + dot.Y.String())
		default:
			path.WriteString("L" + dot.X.String() + " " + dot.Y.String())
		}
		drawn.NameY = dot.Y
	}
	drawn.Path = path.String()
	return drawn
}

// spreadNames moves names apart that overlap, and into the sheet.
func (l Layout) spreadNames() {
	order := make([]*Drawn, len(l.Lines))
	for i := range l.Lines {
		order[i] = &l.Lines[i]
	}
	slices.SortStableFunc(order, func(a, b *Drawn) int { return cmp.Compare(a.NameY, b.NameY) })
	limit := l.Top
	for _, drawn := range order {
		drawn.NameY = max(drawn.NameY, limit)
		limit = drawn.NameY + lineGap
	}
	limit = l.Bottom
	for _, drawn := range slices.Backward(order) {
		drawn.NameY = min(drawn.NameY, limit)
		limit = drawn.NameY - lineGap
	}
}
