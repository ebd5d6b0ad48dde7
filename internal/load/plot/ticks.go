package plot

import "math"

// smallest is what an axis can end at: below it, steps have no room in a float64.
const smallest = 1e-300

// Upward returns an axis from 0 to the first round tick at or above most. It has at
// most that many steps, each 1, 2, 2.5 or 5 times a power of ten, and a multiple of
// least if that is not 0. The label of each tick is what label says.
func Upward(most, least float64, steps int, label func(float64) string) Axis {
	if !(most > smallest) || math.IsInf(most, 0) {
		most = max(1, least)
	}
	step := roundUp(max(most/float64(max(1, steps)), least), least)
	count := max(1, math.Ceil(most/step-1e-9))
	axis := Axis{Max: count * step}
	for i := range int(count) + 1 {
		axis.Ticks = append(axis.Ticks, Tick{Value: float64(i) * step, Label: label(float64(i) * step)})
	}
	return axis
}

// roundUp returns the least round number that is not below the value.
func roundUp(value, multipleOf float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(value)))
	for _, times := range []float64{1, 2, 2.5, 5} {
		round := times * power
		if value <= round*(1+1e-9) && (multipleOf == 0 || math.Mod(round, multipleOf) == 0) {
			return round
		}
	}
	return 10 * power
}

// clockSteps are round on a clock, in seconds; beyond them days are.
var clockSteps = []float64{1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600}

// Clock returns an axis of seconds from 0 to most, at least 1, with at most that
// many steps, each round on a clock. The label of each tick is what label says.
func Clock(most float64, steps int, label func(seconds float64) string) Axis {
	if !(most >= 1) || math.IsInf(most, 0) {
		most = 1
	}
	const day = 24 * 3600
	step := day * math.Ceil(most/float64(steps)/day)
	for _, candidate := range clockSteps {
		if most/candidate <= float64(steps) {
			step = candidate
			break
		}
	}
	axis := Axis{Max: most}
	for i := 0; float64(i)*step <= most; i++ {
		axis.Ticks = append(axis.Ticks, Tick{Value: float64(i) * step, Label: label(float64(i) * step)})
	}
	return axis
}

// nines are the percentiles of an axis that are labelled.
var nines = []Tick{{50, "50 %"}, {90, "90 %"}, {99, "99 %"}, {99.9, "99.9 %"}, {99.99, "99.99 %"}, {99.999, "99.999 %"}}

// maxNines bounds a percentile axis: at 99.9999 %.
const maxNines = 6

// Nines returns an axis on which each further nine of a percentile takes the same
// space, for a distribution of that many values. It ends where one value alone is
// left: that is 100 %.
func Nines(count int) Axis {
	axis := Axis{Max: min(maxNines, max(1, math.Log10(float64(max(1, count)))))}
	for _, tick := range nines {
		at := axis.Nine(tick.Value)
		if at <= axis.Max-0.6 { // else its label would meet the last
			axis.Ticks = append(axis.Ticks, Tick{at, tick.Label})
		}
	}
	axis.Ticks = append(axis.Ticks, Tick{axis.Max, "100 %"})
	return axis
}

// Nine returns where a percentile, from 0 to 100, lies on an axis of [Nines].
func (a Axis) Nine(percentile float64) float64 {
	if percentile >= 100 {
		return a.Max
	}
	return min(a.Max, -math.Log10(1-max(0, percentile)/100))
}
