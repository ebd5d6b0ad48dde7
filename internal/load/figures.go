package load

import (
	"math"
	"time"
)

// figure is a value that a condition can compare; NaN if it was not measured.
type figure struct {
	unit  Unit
	value float64
}

// partNames are the names of all parts.
var partNames = []string{"serve", "webhook", "worker", "auvious", "nats", "load", "all"}

// figures returns all figures by name. The latencies of links are there twice: with and without the name of
// their scope.
func (r *Result) figures() map[string]figure {
	count := func(value float64) figure { return figure{Number, measured(value, r.Requests.Sent > 0)} }
	all := map[string]figure{
		"rate":        count(r.AcceptedPerSecond),
		"linked":      count(r.LinkedPerSecond),
		"refused":     count(float64(r.Requests.Refused)),
		"unanswered":  count(float64(r.Requests.Failed)),
		"late":        count(float64(r.Requests.Late)),
		"deadletters": count(float64(r.Reconciliation.DeadLettered)),
		"orphans":     count(float64(r.Reconciliation.Orphans)),
		"drain":       {Seconds, measured(r.Drain, r.Drain > 0)},
		"cpu":         {Number, r.CPUPerThousand()},
		"memory":      {Bytes, r.PeakMemory()},
	}
	for scope, latency := range map[string]Latency{"": r.Links, "links.": r.Links, "answer.": r.Answer} {
		for i, name := range []string{"p50", "p90", "p99", "p999", "max"} {
			all[scope+name] = figure{Seconds, latency.Percentiles()[i].Value}
		}
		all[scope+"mean"] = figure{Seconds, measured(latency.Mean, latency.Count > 0)}
	}
	for _, name := range partNames {
		all[name+".cpu"], all[name+".memory"] = figure{Number, math.NaN()}, figure{Bytes, math.NaN()}
	}
	for _, part := range r.Parts {
		all[part.Name+".cpu"] = figure{Number, part.CPUPerThousand}
		all[part.Name+".memory"] = figure{Bytes, float64(part.PeakMemory)}
	}
	return all
}

// measured returns the value if it was measured, else NaN.
func measured(value float64, ok bool) float64 {
	if !ok {
		return math.NaN()
	}
	return value
}

// Percentiles returns the percentiles of the distribution; their values are NaN if it is empty.
func (l Latency) Percentiles() []Point {
	points := []Point{{50, l.P50}, {90, l.P90}, {99, l.P99}, {99.9, l.P999}, {100, l.Max}}
	for i := range points {
		points[i].Value = measured(points[i].Value, l.Count > 0)
	}
	return points
}

// CPUPerThousand returns the CPU seconds of all parts per 1,000 accepted events; NaN if they were not measured.
func (r *Result) CPUPerThousand() float64 {
	var sum float64
	for _, part := range r.Parts {
		sum += part.CPUPerThousand
	}
	return measured(sum, sum > 0)
}

// PeakMemory returns the peak memory of the largest part in bytes; NaN if it was not measured. It leaves out
// the load generator and the simulated auvious, which no operator runs.
func (r *Result) PeakMemory() float64 {
	var peak int64
	for _, part := range r.Parts {
		if part.Name != "load" && part.Name != "auvious" {
			peak = max(peak, part.PeakMemory)
		}
	}
	return measured(float64(peak), peak > 0)
}

// FacadeLatency returns the facade's own latency in seconds; NaN if it is unknown. The setting "facade-latency"
// states it; without the setting the simulated auvious takes no time. The latency of another auvious
// ("auvious-url") is unknown, and a random one is no single number.
func (r *Result) FacadeLatency() float64 {
	stated, given := r.Settings["facade-latency"]
	if !given {
		_, elsewhere := r.Settings["auvious-url"]
		return measured(0, !elsewhere)
	}
	latency, err := time.ParseDuration(stated)
	return measured(latency.Seconds(), err == nil)
}
