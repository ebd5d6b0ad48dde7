package report

import (
	"math"
	"strconv"
	"strings"

	"roomlink/internal/load"
)

// none stands where nothing was measured.
const none = "–"

// integer writes a count with its thousands apart: 60,000.
func integer[N int | int64](n N) string { return thousands(strconv.FormatInt(int64(n), 10)) }

// decimal writes a number with that many decimals and its thousands apart. One that
// no page has room for is written with its exponent.
func decimal(value float64, decimals int) string {
	if math.Abs(value) >= 1e15 {
		return strconv.FormatFloat(value, 'g', 3, 64)
	}
	return thousands(strconv.FormatFloat(value, 'f', decimals, 64))
}

// counted writes a count of something: 1 room or 60,000 rooms.
func counted(n int, of string) string {
	if n != 1 {
		of += "s"
	}
	return integer(n) + " " + of
}

func thousands(digits string) string {
	whole, rest, _ := strings.Cut(digits, ".")
	sign := ""
	if after, negative := strings.CutPrefix(whole, "-"); negative {
		sign, whole = "-", after
	}
	var written strings.Builder
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			written.WriteByte(',')
		}
		written.WriteRune(digit)
	}
	if rest != "" {
		rest = "." + rest
	}
	return sign + written.String() + rest
}

// rate writes a rate: 1,998 or 12.5.
func rate(value float64) string {
	if value >= 100 || value == math.Trunc(value) {
		return decimal(value, 0)
	}
	return decimal(value, 1)
}

// seconds writes a latency: 0.45 ms, 78.1 ms, 612 ms or 12.3 s.
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

// size writes bytes, in powers of ten: 96.4 MB.
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

// cpu writes CPU seconds: 0.312 or 12.5.
func cpu(value float64) string {
	switch {
	case value < 0.9995:
		return decimal(value, 3)
	case value < 99.5:
		return decimal(value, 1)
	}
	return decimal(value, 0)
}

// lasted writes how long something took, in seconds: 2.5 s, 60 s, 15 min or 1.5 h.
func lasted(value float64) string {
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

// known writes a value, or that there is none.
func known(write func(float64) string, value float64, there bool) string {
	if !there {
		return none
	}
	return write(value)
}

// found writes what a threshold was held against, in the unit of its expression.
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

// plain writes a foreign text for a terminal: quoted where it could move the cursor.
func plain(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
