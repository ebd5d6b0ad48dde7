package plot

import "math"

// Axis is a range of values from 0 with labelled ticks.
type Axis struct {
	Max   float64
	Ticks []Tick
}

// Tick is a labelled value.
type Tick struct {
	Value float64
	Label string
}

// ticks returns the ticks at 0 and at a number of steps.
func ticks(steps, step float64, label func(float64) string) []Tick {
	var all []Tick
	for i := range int(steps) + 1 {
		value := float64(i) * step
		all = append(all, Tick{value, label(value)})
	}
	return all
}

// ValueAxis returns an axis from 0 to the first round tick at or above end. It has at most the given number of
// steps. Each step is 1, 2, 2.5 or 5 times a power of ten, and a multiple of minStep unless that is 0. label
// returns the label of a tick.
func ValueAxis(end, minStep float64, steps int, label func(float64) string) Axis {
	if end <= 0 {
		end = max(1, minStep)
	}
	step := roundUp(max(end/float64(steps), minStep), minStep)
	count := math.Ceil(end/step - 1e-9)
	return Axis{count * step, ticks(count, step, label)}
}

// roundUp returns the smallest round number that is at least value.
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

// timeSteps are the round steps below a day, in seconds.
var timeSteps = []float64{1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600}

// TimeStep returns the smallest round step that divides a duration into at most the given number of steps, all
// in seconds.
func TimeStep(duration float64, steps int) float64 {
	for _, step := range timeSteps {
		if duration/step <= float64(steps) {
			return step
		}
	}
	const day = 24 * 3600
	return day * math.Ceil(duration/float64(steps)/day)
}

// TimeAxis returns an axis from 0 to end, at least 1, in seconds. Its ticks are at most the given number of
// [TimeStep] apart. label returns the label of a tick.
func TimeAxis(end float64, steps int, label func(seconds float64) string) Axis {
	end = max(1, end)
	step := TimeStep(end, steps)
	return Axis{end, ticks(end/step, step, label)}
}

// percentiles are the labelled percentiles of an axis.
var percentiles = []Tick{{50, "50 %"}, {90, "90 %"}, {99, "99 %"}, {99.9, "99.9 %"}, {99.99, "99.99 %"}, {99.999, "99.999 %"}}

// maxNines ends a percentile axis at 99.9999 %.
const maxNines = 6

// PercentileAxis returns an axis for a distribution of count values, on which each further nine of a percentile
// takes the same space. It ends with 100 % where a single value is left.
func PercentileAxis(count int) Axis {
	axis := Axis{Max: min(maxNines, max(1, math.Log10(float64(count))))}
	for _, tick := range percentiles {
		if value := axis.AtPercentile(tick.Value); value <= axis.Max-0.6 { // no overlap with 100 %
			axis.Ticks = append(axis.Ticks, Tick{value, tick.Label})
		}
	}
	axis.Ticks = append(axis.Ticks, Tick{axis.Max, "100 %"})
	return axis
}

// AtPercentile returns the value of a percentile, from 0 to 100, on a [PercentileAxis].
func (a Axis) AtPercentile(percentile float64) float64 {
	return min(a.Max, -math.Log10(1-percentile/100)) // infinite for 100
}
