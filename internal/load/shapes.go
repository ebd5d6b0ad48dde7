package load

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"roomlink/internal/talkdesk"
)

// Share is a share from 0 to 1. Its text may be a percentage.
type Share float64

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Share) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	value, err := strconv.ParseFloat(number, 64)
	if percent {
		value /= 100
	}
	if err != nil || !(value >= 0 && value <= 1) { // this form also refuses NaN
		return fmt.Errorf("%q is not a share such as 2%%", text)
	}
	*s = Share(value)
	return nil
}

// String returns the share in percent.
func (s Share) String() string { return strconv.FormatFloat(float64(s)*100, 'g', -1, 64) + "%" }

// ShapeMix is a mix of shapes with weights. Its text is a list such as automation=8,digital=1,action=1.
type ShapeMix struct {
	text string
	// turns repeats each shape as often as its weight.
	turns []talkdesk.Shape
}

// maxWeight bounds the weight of a shape.
const maxWeight = 1000

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *ShapeMix) UnmarshalText(text []byte) error {
	*m = ShapeMix{text: string(text)}
	for entry := range strings.SplitSeq(m.text, ",") {
		name, number, hasWeight := strings.Cut(strings.TrimSpace(entry), "=")
		if !hasWeight {
			number = "1"
		}
		shape := talkdesk.Shape(name)
		weight, err := strconv.Atoi(number)
		if !shape.Known() || err != nil || weight < 0 || weight > maxWeight {
			return fmt.Errorf("%q is not a mix such as automation=8,digital=1,action=1", text)
		}
		m.turns = append(m.turns, slices.Repeat([]talkdesk.Shape{shape}, weight)...)
	}
	return nil
}

// String returns the text of the mix.
func (m ShapeMix) String() string { return m.text }
