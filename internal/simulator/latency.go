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

// MaxLatency is the longest that [Latency.Sample] returns.
const MaxLatency = 5 * time.Minute

// ErrLatency says that a text is not a latency.
var ErrLatency = errors.New("wants 50ms, uniform:20ms,80ms or lognormal:50ms,0.5")

// Latency is a distribution of times. The zero value is no time at all. Make
// others with [Constant] or [ParseLatency].
type Latency struct {
	shape shape
	// low is the constant, the least of a uniform, the median of a lognormal.
	low time.Duration
	// high is the most of a uniform.
	high time.Duration
	// sigma is a lognormal's standard deviation of the logarithm.
	sigma float64
}

// A shape is a kind of distribution.
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

// Constant is the latency that is always d.
func Constant(d time.Duration) Latency {
	return Latency{low: max(d, 0)}
}

// ParseLatency reads a latency: "50ms" is always that long, "uniform:20ms,80ms"
// anything between the two, "lognormal:50ms,0.5" a median and a sigma. The empty
// text is no latency. Any error is [ErrLatency], wrapped.
func ParseLatency(text string) (Latency, error) {
	latency, ok := parseLatency(strings.TrimSpace(text))
	if !ok {
		return Latency{}, fmt.Errorf("latency %q: %w", text, ErrLatency)
	}
	return latency, nil
}

// parseLatency reads a latency, and reports whether the text is one.
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

// parseDuration reads a time that is not negative.
func parseDuration(text string) (time.Duration, bool) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	return d, err == nil && d >= 0
}

// Sample draws one time, from 0 to [MaxLatency].
func (l Latency) Sample() time.Duration {
	switch l.shape {
	case shapeUniform:
		low, high := min(l.low, MaxLatency), min(l.high, MaxLatency)
		return low + rand.N(high-low+1)
	case shapeLogNormal:
		d := float64(l.low) * math.Exp(l.sigma*rand.NormFloat64())
		if !(d < float64(MaxLatency)) { // so put, 0 times infinity is caught too
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

// MarshalText returns what [Latency.String] does, and no error.
func (l Latency) MarshalText() ([]byte, error) {
	return []byte(l.String()), nil
}

// UnmarshalText reads what [ParseLatency] does, with its errors.
func (l *Latency) UnmarshalText(text []byte) error {
	latency, err := ParseLatency(string(text))
	if err != nil {
		return err
	}
	*l = latency
	return nil
}
