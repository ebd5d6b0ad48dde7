package report

import (
	"math"
	"strconv"
	"strings"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"roomlink/internal/load"
)

// none stands for a value that was not measured.
const none = "–"

// english separates thousands with commas.
var english = message.NewPrinter(language.English)

// scale says how to format the values below a limit.
type scale struct {
	limit, factor float64
	decimals      int
	unit          string
}

var unlimited = math.Inf(1)

// format formats a value by the first scale whose limit is above it. It returns [none] for NaN.
func format(value float64, scales ...scale) string {
	for _, s := range scales {
		if value < s.limit {
			return english.Sprintf("%.*f", s.decimals, value*s.factor) + s.unit
		}
	}
	return none // NaN is below nothing
}

// integer formats a count: 60,000.
func integer(n int) string { return english.Sprintf("%d", n) }

// count formats a count as [integer] does.
func count(value float64) string { return format(value, scale{unlimited, 1, 0, ""}) }

// counted formats a count with its noun: 1 room or 60,000 rooms.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return integer(n) + " " + noun
}

// rate formats a rate: 1,998 or 12.5.
func rate(value float64) string {
	return strings.TrimSuffix(format(value, scale{99.95, 1, 1, ""}, scale{unlimited, 1, 0, ""}), ".0")
}

// rounded formats a rate with its first three digits.
func rounded(value float64) string {
	if value < 100 {
		return rate(value)
	}
	power := math.Pow(10, math.Floor(math.Log10(value))-2)
	return count(math.Round(value/power) * power)
}

// seconds formats a latency: 0.45 ms, 78.1 ms, 612 ms or 12.3 s.
func seconds(value float64) string {
	const s, ms = " s", " ms"
	return format(value,
		scale{1e-9, 1e3, 0, ms},
		scale{9.95e-3, 1e3, 2, ms},
		scale{99.95e-3, 1e3, 1, ms},
		scale{9.9995, 1e3, 0, ms},
		scale{999.5, 1, 1, s},
		scale{unlimited, 1, 0, s})
}

// wholeSeconds formats a latency as [seconds] does, but from 10 ms on without decimals of a millisecond.
func wholeSeconds(value float64) string {
	if value < 9.95e-3 {
		return seconds(value)
	}
	return trimmed(seconds(math.Round(value*1e3) / 1e3))
}

// trimmed removes a decimal of 0 from a number with a unit.
func trimmed(text string) string { return strings.Replace(text, ".0 ", " ", 1) }

// size formats bytes, in powers of ten: 96.4 MB.
func size(bytes float64) string {
	return format(bytes,
		scale{999.5, 1, 0, " B"},
		scale{999.5e3, 1e-3, 0, " kB"},
		scale{999.5e6, 1e-6, 1, " MB"},
		scale{unlimited, 1e-9, 2, " GB"})
}

// cpu formats CPU seconds: 0.312 or 12.5.
func cpu(value float64) string {
	return format(value, scale{0.9995, 1, 3, ""}, scale{99.5, 1, 1, ""}, scale{unlimited, 1, 0, ""})
}

// duration formats a duration in seconds: 2.5 s, 60 s, 15 min or 1.5 h.
func duration(value float64) string {
	return trimmed(format(value,
		scale{9.95, 1, 1, " s"},
		scale{119.5, 1, 0, " s"},
		scale{119.5 * 60, 1. / 60, 1, " min"},
		scale{unlimited, 1. / 3600, 1, " h"}))
}

// found formats the compared value of a threshold.
func found(t load.Threshold) string {
	switch {
	case t.Unknown:
		return "not measured"
	case t.Unit == load.Seconds:
		return seconds(t.Found)
	case t.Unit == load.Bytes:
		return size(t.Found)
	}
	return english.Sprint(math.Round(t.Found*1e3) / 1e3)
}

// plain formats a foreign text for a terminal. It quotes a text with control characters.
func plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// machine describes the machine of a load test; "" if it is unknown.
func machine(m load.Machine) string {
	if m == (load.Machine{}) {
		return ""
	}
	return m.OS + "/" + m.Arch + ", " + counted(m.CPUs, "CPU")
}
