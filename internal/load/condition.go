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

// ErrCondition is an expression for --fail that cannot be read.
var ErrCondition = errors.New("wants a condition such as p99<500ms, rate>=500 or memory<=150MiB")

// Condition is what a load test must keep to. The zero value is none: it is never
// met.
type Condition struct {
	expression string
	figure     figure
	operator   string
	// limit is in the unit of the figure: seconds, bytes or a number.
	limit float64
}

// maxCondition bounds an expression, in bytes.
const maxCondition = 100

// expressions take a condition apart. No figure begins with a digit.
var expressions = regexp.MustCompile(`^\s*([a-z][a-z0-9.]*)\s*([<>=!~]+)\s*(\S+)\s*$`)

// ParseCondition reads a condition: a figure, one of < <= > >=, and a limit.
//
//	p50 p90 p99 p999 max mean   the latency from a 2xx to its links, such as p99<500ms
//	links.p99, answer.p99       the same by name, and the latency of the 2xx
//	rate, linked                accepted and linked a second, such as rate>=500
//	refused, unanswered, late   requests
//	deadletters, orphans        conversations, and rooms that no links lead to
//	drain                       the time that a worker took which came after the attack
//	cpu                         CPU seconds for 1,000 events in all parts
//	memory                      the peak of the largest part, such as memory<=150MiB; neither
//	                            the load generator nor the simulated auvious counts
//	serve.cpu, worker.memory    those of one part: serve, webhook, worker, auvious, nats, load, all
//
// Its errors are [ErrCondition] and say what is wrong.
func ParseCondition(expression string) (Condition, error) {
	c, err := parseCondition(expression)
	if err != nil {
		return Condition{}, fmt.Errorf("%w: %.*q: %w", ErrCondition, maxCondition, expression, err)
	}
	return c, nil
}

func parseCondition(expression string) (Condition, error) {
	if len(expression) > maxCondition {
		return Condition{}, fmt.Errorf("it has more than %d bytes", maxCondition)
	}
	parts := expressions.FindStringSubmatch(expression)
	if parts == nil {
		return Condition{}, errors.New("it is not a figure, an operator and a limit")
	}
	name, operator, limit := parts[1], parts[2], parts[3]
	figure, known := figureOf(name)
	if !known {
		return Condition{}, fmt.Errorf("there is no figure %q", name)
	}
	switch operator {
	case "<", "<=", ">", ">=":
	default:
		return Condition{}, fmt.Errorf("%q is none of < <= > >=", operator)
	}
	value, err := figure.unit.parse(limit)
	if err != nil {
		return Condition{}, fmt.Errorf("%s %w, and not %q", name, err, limit)
	}
	return Condition{name + operator + limit, figure, operator, value}, nil
}

// UnmarshalText reads what [ParseCondition] does, with its errors.
func (c *Condition) UnmarshalText(text []byte) error {
	parsed, err := ParseCondition(string(text))
	if err == nil {
		*c = parsed
	}
	return err
}

// String returns the condition as it was given, without its blanks.
func (c Condition) String() string { return c.expression }

// Unit is what the condition compares.
func (c Condition) Unit() Unit { return c.figure.unit }

// Judge tells how a load test came out by the condition. What was not measured
// misses it.
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

// Unit is that of a figure.
type Unit int

// The units of figures.
const (
	// Number is a count, a rate or CPU seconds for 1,000 events.
	Number Unit = iota
	// Seconds are written as a duration, such as 500ms.
	Seconds
	// Bytes are written as a size, such as 150MiB.
	Bytes
)

// parse reads a limit; its error is what the figure wants.
func (u Unit) parse(limit string) (float64, error) {
	switch u {
	case Seconds:
		d, err := time.ParseDuration(limit)
		if err != nil || d < 0 {
			return 0, errors.New("wants a duration such as 500ms")
		}
		return d.Seconds(), nil
	case Bytes:
		return parseBytes(limit)
	case Number:
	}
	value, ok := parseNumber(limit)
	if !ok {
		return 0, errors.New("wants a number such as 500 or 0.8")
	}
	return value, nil
}

// decimals are numbers as people write them: no exponent, no hexadecimals, no NaN.
var decimals = regexp.MustCompile(`^[0-9]{1,18}(\.[0-9]{1,18})?$`)

func parseNumber(text string) (float64, bool) {
	if !decimals.MatchString(text) {
		return 0, false
	}
	value, err := strconv.ParseFloat(text, 64)
	return value, err == nil
}

// sizes are the units of bytes, each after those that end with it.
var sizes = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"B", 1},
	{"", 1},
}

func parseBytes(limit string) (float64, error) {
	for _, size := range sizes {
		number, found := strings.CutSuffix(limit, size.name)
		if !found {
			continue
		}
		if value, ok := parseNumber(number); ok {
			return value * size.bytes, nil
		}
		break
	}
	return 0, errors.New("wants a size such as 150MiB")
}
