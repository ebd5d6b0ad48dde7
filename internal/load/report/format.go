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

// integer formats a count: 60,000.
func integer[N int | int64](n N) string { return english.Sprintf("%d", n) }

// decimal formats a number with a number of decimals: 60,000.5. A huge number gets an exponent, because no page
// has room for it.
func decimal(value float64, decimals int) string {
	if math.Abs(value) >= 1e15 {
		return strconv.FormatFloat(value, 'g', 3, 64)
	}
	return english.Sprintf("%.*f", decimals, value)
}

func count(value float64) string { return decimal(value, 0) }

// counted formats a count with its noun: 1 room or 60,000 rooms.
func counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return integer(n) + " " + noun
}

// rate formats a rate: 1,998 or 12.5.
func rate(value float64) string {
	if value >= 100 || value == math.Trunc(value) {
		return decimal(value, 0)
	}
	return decimal(value, 1)
}

// seconds formats a latency: 0.45 ms, 78.1 ms, 612 ms or 12.3 s.
func seconds(value float64) string {
	switch ms := value * 1000; {
	case ms == 0:
		return "0 ms"
	case ms < 9.95:
		return decimal(ms, 2) + " ms"
	case ms < 99.95:
		return decimal(ms, 1) + " ms"
	case ms < 9999.5:
		return decimal(ms, 0) + " ms"
	case value < 999.5:
		return decimal(value, 1) + " s"
	}
	return decimal(value, 0) + " s"
}

// wholeSeconds formats a latency as [seconds] does, but from 10 ms on in whole milliseconds.
func wholeSeconds(value float64) string {
	if value >= 0.00995 && value < 9.9995 {
		return decimal(value*1000, 0) + " ms"
	}
	return seconds(value)
}

// size formats bytes, in powers of ten: 96.4 MB.
func size[N int64 | float64](bytes N) string {
	switch value := float64(bytes); {
	case value < 999.5:
		return decimal(value, 0) + " B"
	case value < 999.5e3:
		return decimal(value/1e3, 0) + " kB"
	case value < 999.5e6:
		return decimal(value/1e6, 1) + " MB"
	default:
		return decimal(value/1e9, 2) + " GB"
	}
}

// cpu formats CPU seconds: 0.312 or 12.5.
func cpu(value float64) string {
	switch {
	case value < 0.9995:
		return decimal(value, 3)
	case value < 99.5:
		return decimal(value, 1)
	}
	return decimal(value, 0)
}

// duration formats a duration in seconds: 2.5 s, 60 s, 15 min or 1.5 h.
func duration(value float64) string {
	unit := " s"
	switch {
	case value >= 119.5*60:
		value, unit = value/3600, " h"
	case value >= 119.5:
		value, unit = value/60, " min"
	case value >= 9.95:
		value = math.Round(value)
	}
	return strings.TrimSuffix(decimal(value, 1), ".0") + unit
}

// known formats a value, or [none] if it is unknown.
func known(format func(float64) string, value float64, isKnown bool) string {
	if !isKnown {
		return none
	}
	return format(value)
}

// found formats the compared value of a threshold in the unit of its expression.
func found(t load.Threshold) string {
	condition, err := load.ParseCondition(t.Expression)
	switch {
	case t.Unknown:
		return "not measured"
	case err == nil && condition.Unit() == load.Seconds:
		return seconds(t.Found)
	case err == nil && condition.Unit() == load.Bytes:
		return size(t.Found)
	case t.Found == math.Trunc(t.Found):
		return decimal(t.Found, 0)
	case t.Found >= 100:
		return decimal(t.Found, 1)
	}
	return decimal(t.Found, 3)
}

// plain formats a foreign text for a terminal. It quotes a text with control characters.
func plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
