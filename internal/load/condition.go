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

// Condition is a requirement that a load test has to meet. The zero value is never met.
type Condition struct {
	expression string
	figure     figure
	operator   string
	// limit is in the unit of the figure: seconds, bytes or a number.
	limit float64
}

// maxCondition bounds an expression, in bytes.
const maxCondition = 100

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
		return Condition{}, fmt.Errorf("%w: %.*q: %w", ErrCondition, maxCondition, expression, err)
	}
	return c, nil
}

func parseCondition(expression string) (Condition, error) {
	if len(expression) > maxCondition {
		return Condition{}, fmt.Errorf("it is longer than %d bytes", maxCondition)
	}
	parts := expressions.FindStringSubmatch(expression)
	if parts == nil {
		return Condition{}, errors.New("it is not a figure, one of < <= > >=, and a limit")
	}
	name, operator, limit := parts[1], parts[2], parts[3]
	figure, known := figures[strings.Replace(name, "p99.9", "p999", 1)]
	if !known {
		return Condition{}, fmt.Errorf("there is no figure %q", name)
	}
	value, ok := figure.unit.parse(limit)
	if !ok {
		return Condition{}, fmt.Errorf("%s wants %s, not %q", name, limits[figure.unit], limit)
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

// Unit returns the unit of the value that the condition compares.
func (c Condition) Unit() Unit { return c.figure.unit }

// Judge compares a result with the condition. A result without the figure misses it.
func (c Condition) Judge(r *Result) Threshold {
	t := Threshold{Expression: c.expression, Unknown: true}
	if c.figure.value == nil {
		return t
	}
	found, known := c.figure.value(r)
	if !known || math.IsNaN(found) || math.IsInf(found, 0) {
		return t
	}
	t.Found, t.Unknown = found, false
	switch c.operator {
	case "<":
		t.Met = found < c.limit
	case "<=":
		t.Met = found <= c.limit
	case ">":
		t.Met = found > c.limit
	case ">=":
		t.Met = found >= c.limit
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

// decimals match plain decimal numbers: no sign, no exponent, no hexadecimals, no NaN.
var decimals = regexp.MustCompile(`^[0-9]{1,18}(\.[0-9]{1,18})?$`)

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
	if !decimals.MatchString(limit) {
		return 0, false
	}
	value, err := strconv.ParseFloat(limit, 64)
	return value * factor, err == nil
}
