package load

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrCondition is the error of an expression for --fail that is not a condition.
var ErrCondition = errors.New("wants a condition such as p99<500ms, rate>=500 or memory<=150MiB")

// Condition is a requirement that a load test has to meet.
type Condition struct {
	expression string
	// figure is the name of the compared figure, and limit is in its unit.
	figure, operator string
	limit            float64
}

// expressions match a figure, an operator and a limit. No figure begins with a digit.
var expressions = regexp.MustCompile(`^\s*([a-z][a-z0-9.]*)\s*(<=?|>=?)\s*(\S+)\s*$`)

// ParseCondition reads a condition: a figure, one of < <= > >=, and a limit. The figures:
//
//	p50 p90 p99 p999 max mean   latency from a 2xx answer to its links, such as p99<500ms
//	links.p99, answer.p99       the same by name, and the latency of the 2xx answer
//	rate, linked                events accepted and linked per second, such as rate>=500
//	refused, unanswered, late   requests
//	deadletters, orphans        conversations with a dead letter, and rooms without links
//	drain                       time from the late start of the worker to the last links
//	cpu                         CPU seconds of all parts per 1,000 events
//	memory                      peak memory of the largest part, such as memory<=150MiB,
//	                            without the load generator and the simulated auvious
//	serve.cpu, worker.memory    the same of one part: serve, webhook, worker, auvious, nats, load, all
//
// It returns [ErrCondition] with the reason for anything else.
func ParseCondition(expression string) (Condition, error) {
	c, err := parseCondition(expression)
	if err != nil {
		return Condition{}, fmt.Errorf("%w: %q: %w", ErrCondition, expression, err)
	}
	return c, nil
}

func parseCondition(expression string) (Condition, error) {
	parts := expressions.FindStringSubmatch(expression)
	if parts == nil {
		return Condition{}, errors.New("it is not a figure, one of < <= > >=, and a limit")
	}
	name, operator, limit := parts[1], parts[2], parts[3]
	figure := strings.Replace(name, "p99.9", "p999", 1)
	compared, known := new(Result).figures()[figure]
	if !known {
		return Condition{}, fmt.Errorf("there is no figure %q", name)
	}
	value, ok := compared.unit.parse(limit)
	if !ok {
		return Condition{}, fmt.Errorf("%s wants %s, not %q", name, limits[compared.unit], limit)
	}
	return Condition{name + operator + limit, figure, operator, value}, nil
}

// UnmarshalText reads a condition as [ParseCondition] does.
func (c *Condition) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCondition(string(text))
	return err
}

// String returns the expression without blanks.
func (c Condition) String() string { return c.expression }

// Judge compares a result with the condition. A result without the figure misses it.
func (c Condition) Judge(r *Result) Threshold {
	found := r.figures()[c.figure]
	if math.IsNaN(found.value) {
		return Threshold{Expression: c.expression, Unknown: true}
	}
	t := Threshold{Expression: c.expression, Found: found.value, Unit: found.unit}
	switch c.operator {
	case "<":
		t.Met = found.value < c.limit
	case "<=":
		t.Met = found.value <= c.limit
	case ">":
		t.Met = found.value > c.limit
	case ">=":
		t.Met = found.value >= c.limit
	}
	return t
}

// Unit is the unit of a figure.
type Unit int

// The units of figures.
const (
	// Number is a count, a rate, or CPU seconds per 1,000 events.
	Number Unit = iota
	// Seconds are written as a duration, such as 500ms.
	Seconds
	// Bytes are written as a size, such as 150MiB.
	Bytes
)

// limits describe the limits of each unit.
var limits = map[Unit]string{
	Number: "a number such as 500 or 0.8", Seconds: "a duration such as 500ms", Bytes: "a size such as 150MiB",
}

// sizes are the units of bytes. Each stands after those that end with it.
var sizes = []struct {
	suffix string
	bytes  float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}}

// parse reads a limit and reports whether it is one.
func (u Unit) parse(limit string) (float64, bool) {
	factor := 1.0
	switch u {
	case Seconds:
		d, err := time.ParseDuration(limit)
		return d.Seconds(), err == nil && d >= 0
	case Bytes:
		for _, size := range sizes {
			if number, found := strings.CutSuffix(limit, size.suffix); found {
				limit, factor = number, size.bytes
				break
			}
		}
	case Number:
	}
	value, err := strconv.ParseFloat(limit, 64)
	return value * factor, err == nil && value >= 0 && !math.IsInf(value, 0) // NaN is not at least 0
}
