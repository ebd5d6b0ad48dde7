package rig

import (
	"fmt"
	"strconv"
	"strings"

	"roomlink/internal/load"
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

// ShapeMix is the shapes of requests with their weights.
type ShapeMix []weightedShape

type weightedShape struct {
	shape  talkdesk.Shape
	weight int
}

// maxWeight bounds the weight of a shape.
const maxWeight = 1000

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *ShapeMix) UnmarshalText(text []byte) error {
	var mix ShapeMix
	for entry := range strings.SplitSeq(string(text), ",") {
		name, number, hasWeight := strings.Cut(strings.TrimSpace(entry), "=")
		shape, weight := talkdesk.Shape(name), 1
		var err error
		if hasWeight {
			weight, err = strconv.Atoi(number)
		}
		if !shape.Known() || err != nil || weight < 0 || weight > maxWeight {
			return fmt.Errorf("%q is not a mix such as automation=8,digital=1,action=1", text)
		}
		mix = append(mix, weightedShape{shape, weight})
	}
	*m = mix
	return nil
}

// String returns the text of the mix.
func (m ShapeMix) String() string {
	entries := make([]string, 0, len(m))
	for _, entry := range m {
		entries = append(entries, fmt.Sprintf("%s=%d", entry.shape, entry.weight))
	}
	return strings.Join(entries, ",")
}

// samples returns the samples of the mix, with a placeholder for the id.
func (m ShapeMix) samples() ([]load.Shape, error) {
	var shapes []load.Shape
	for _, entry := range m {
		body, err := entry.shape.Sample(load.IDPlaceholder)
		if err != nil {
			return nil, err
		}
		shapes = append(shapes, load.Shape{Weight: entry.weight, Body: body})
	}
	return shapes, nil
}
