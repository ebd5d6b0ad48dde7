// Package plot computes the layout of line plots: it turns values into positions on a sheet, with round ticks
// and names beside the lines that do not overlap. It draws nothing. The page that shows a plot draws it as SVG
// in its own template, so that the template escapes every text and styles every line.
package plot

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
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

	// Left, Top, Right and Bottom are the edges of the area between the axes. Layout sets them.
	Left, Top, Right, Bottom float64
}

// Line is a series of points with rising X.
type Line struct {
	// Name stands at the end of the line. Class tells the template how to style it.
	Name, Class string
	// Points are in values of the axes. Points with a Y of NaN are gaps.
	Points []Point

	// Layout sets the following. Path is the "d" attribute of an SVG path.
	Path string
	// Dots are the positions of points between two gaps, which a path does not show.
	Dots []Point
	// NameX and NameY are the left end and the middle of the name.
	NameX, NameY float64
}

// Point is a point of a line or a position on the sheet.
type Point struct{ X, Y float64 }

// Layout computes the positions of everything on the sheet.
func (c *Chart) Layout() {
	labels, names := minLabelWidth, minNameWidth
	for _, tick := range c.Y.Ticks {
		labels = max(labels, textWidth(tick.Label))
	}
	for _, line := range c.Lines {
		names = max(names, textWidth(line.Name))
	}
	c.Left, c.Top = rounded(labels+gap), top
	c.Right, c.Bottom = rounded(c.Width-names-gap), c.Height-bottom
	for i := range c.Lines {
		c.draw(&c.Lines[i])
	}
	c.spreadNames()
}

func textWidth(text string) float64 { return float64(utf8.RuneCountInString(text)) * charWidth }

// rounded keeps one decimal, which is exact enough for a sheet.
func rounded(position float64) float64 { return math.Round(position*10) / 10 }

// AtX returns the position of a value of the horizontal axis.
func (c *Chart) AtX(value float64) float64 { return rounded(c.Left + (c.Right-c.Left)*value/c.X.Max) }

// AtY returns the position of a value of the vertical axis.
func (c *Chart) AtY(value float64) float64 { return rounded(c.Bottom - (c.Bottom-c.Top)*value/c.Y.Max) }

func (c *Chart) draw(line *Line) {
	line.NameX, line.NameY = rounded(c.Right+gap), c.Bottom
	var path strings.Builder
	isGap := func(i int) bool { return i < 0 || i >= len(line.Points) || math.IsNaN(line.Points[i].Y) }
	for i, point := range line.Points {
		x, y := c.AtX(point.X), c.AtY(point.Y)
		switch {
		case isGap(i):
			continue
		case isGap(i-1) && isGap(i+1):
			line.Dots = append(line.Dots, Point{x, y})
		case isGap(i - 1):
			fmt.Fprintf(&path, "M%v %v", x, y)
		default:
			fmt.Fprintf(&path, "L%v %v", x, y)
		}
		line.NameY = y
	}
	line.Path = path.String()
}

// spreadNames moves names apart that overlap, and into the sheet.
func (c *Chart) spreadNames() {
	order := make([]*Line, len(c.Lines))
	for i := range c.Lines {
		order[i] = &c.Lines[i]
	}
	slices.SortStableFunc(order, func(a, b *Line) int { return cmp.Compare(a.NameY, b.NameY) })
	limit := c.Top
	for _, line := range order {
		line.NameY = max(line.NameY, limit)
		limit = rounded(line.NameY + lineGap)
	}
	limit = c.Bottom
	for _, line := range slices.Backward(order) {
		line.NameY = min(line.NameY, limit)
		limit = rounded(line.NameY - lineGap)
	}
}
