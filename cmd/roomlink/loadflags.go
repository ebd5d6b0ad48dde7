package main

import (
	"fmt"
	"strconv"
	"strings"

	"roomlink/internal/load"
)

// share is a part of a whole, from 0 to 1, with % behind it or none.
type share float64

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *share) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	value, err := strconv.ParseFloat(number, 64)
	if percent {
		value /= 100
	}
	if err != nil || !(value >= 0 && value <= 1) { // so put, NaN is refused too
		return fmt.Errorf("%q is no part of a whole, such as 2%%", text)
	}
	*s = share(value)
	return nil
}

// String is the share in percent.
func (s share) String() string { return strconv.FormatFloat(float64(s)*100, 'g', -1, 64) + "%" }

// shapeMix are samples by their weight.
type shapeMix []weighed

type weighed struct {
	shape  string
	weight int
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *shapeMix) UnmarshalText(text []byte) error {
	var mix shapeMix
	for entry := range strings.SplitSeq(string(text), ",") {
		name, number, weighs := strings.Cut(strings.TrimSpace(entry), "=")
		weight := 1
		var err error
		if weighs {
			weight, err = strconv.Atoi(number)
		}
		if _, known := sampleID[name]; !known || err != nil || weight < 0 || weight > mostWeight {
			return fmt.Errorf("%q is no mix such as automation=8,digital=1,action=1", text)
		}
		mix = append(mix, weighed{name, weight})
	}
	*m = mix
	return nil
}

// mostWeight bounds the weight of a shape.
const mostWeight = 1000

// String is the mix as it is written.
func (m shapeMix) String() string {
	entries := make([]string, 0, len(m))
	for _, entry := range m {
		entries = append(entries, fmt.Sprintf("%s=%d", entry.shape, entry.weight))
	}
	return strings.Join(entries, ",")
}

// samples are the samples of the mix, with a place for the id.
func (m shapeMix) samples() ([]load.Shape, error) {
	var shapes []load.Shape
	for _, entry := range m {
		body, err := sample(entry.shape, load.IDPlaceholder)
		if err != nil {
			return nil, err
		}
		shapes = append(shapes, load.Shape{Weight: entry.weight, Body: body})
	}
	return shapes, nil
}
