package simulator

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// MaxLatency is the maximum of [Latency.Sample].
const MaxLatency = 5 * time.Minute

// ErrLatency refuses a text that is not a latency.
var ErrLatency = errors.New("want 50ms, uniform:20ms,80ms or lognormal:50ms,0.5")

// Latency is a distribution of durations. The zero value is always 0. Use [Constant] or
// [ParseLatency] to make others.
type Latency struct {
	shape shape
	// low is the constant, the minimum of a uniform or the median of a lognormal
	// distribution.
	low time.Duration
	// high is the maximum of a uniform distribution.
	high time.Duration
	// sigma is the standard deviation of the logarithm of a lognormal distribution.
	sigma float64
}

// shape is a kind of distribution.
type shape int

const (
	shapeConstant shape = iota
	shapeUniform
	shapeLogNormal
)

var (
	_ encoding.TextMarshaler   = Latency{}
	_ encoding.TextUnmarshaler = (*Latency)(nil)
)

// Constant returns the latency that is always d, or 0 if d is negative.
func Constant(d time.Duration) Latency {
	return Latency{low: max(d, 0)}
}

// ParseLatency reads a latency: "50ms" is constant, "uniform:20ms,80ms" has a minimum and a
// maximum, "lognormal:50ms,0.5" has a median and a sigma, and "" is 0. It returns an error
// that wraps [ErrLatency].
func ParseLatency(text string) (Latency, error) {
	latency, ok := parseLatency(strings.TrimSpace(text))
	if !ok {
		return Latency{}, fmt.Errorf("latency %q: %w", text, ErrLatency)
	}
	return latency, nil
}

func parseLatency(text string) (Latency, bool) {
	if text == "" {
		return Latency{}, true
	}
	name, rest, named := strings.Cut(text, ":")
	if !named {
		low, ok := parseDuration(text)
		return Latency{low: low}, ok
	}
	first, second, ok := strings.Cut(rest, ",")
	if !ok {
		return Latency{}, false
	}
	low, ok := parseDuration(first)
	if !ok {
		return Latency{}, false
	}
	switch name {
	case "uniform":
		high, ok := parseDuration(second)
		return Latency{shape: shapeUniform, low: low, high: high}, ok && low <= high
	case "lognormal":
		sigma, err := strconv.ParseFloat(strings.TrimSpace(second), 64)
		ok := err == nil && sigma >= 0 && !math.IsInf(sigma, 1)
		return Latency{shape: shapeLogNormal, low: low, sigma: sigma}, ok
	}
	return Latency{}, false
}

// parseDuration reads a duration that is not negative.
func parseDuration(text string) (time.Duration, bool) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	return d, err == nil && d >= 0
}

// Sample returns a random duration from 0 to [MaxLatency].
func (l Latency) Sample() time.Duration {
	switch l.shape {
	case shapeUniform:
		low, high := min(l.low, MaxLatency), min(l.high, MaxLatency)
		return low + rand.N(high-low+1)
	case shapeLogNormal:
		d := float64(l.low) * math.Exp(l.sigma*rand.NormFloat64())
		if !(d < float64(MaxLatency)) { // this form also catches NaN, from 0 times infinity
			return MaxLatency
		}
		return time.Duration(d)
	}
	return min(l.low, MaxLatency)
}

// String returns the latency in the form that [ParseLatency] reads.
func (l Latency) String() string {
	switch l.shape {
	case shapeUniform:
		return fmt.Sprintf("uniform:%v,%v", l.low, l.high)
	case shapeLogNormal:
		return "lognormal:" + l.low.String() + "," + strconv.FormatFloat(l.sigma, 'g', -1, 64)
	}
	return l.low.String()
}

// MarshalText returns the text of [Latency.String].
func (l Latency) MarshalText() ([]byte, error) {
	return []byte(l.String()), nil
}

// UnmarshalText reads a text like [ParseLatency], with the same errors.
func (l *Latency) UnmarshalText(text []byte) error {
	latency, err := ParseLatency(string(text))
	if err != nil {
		return err
	}
	*l = latency
	return nil
}
