package load

import (
	"slices"
	"time"
)

// figure is a value that a condition can compare.
type figure struct {
	unit Unit
	// value returns the value and whether it was measured.
	value func(*Result) (float64, bool)
}

// figures are all figures by name. The latencies of links stand there twice: with and without the name of their
// scope.
var figures = allFigures()

func allFigures() map[string]figure {
	all := map[string]figure{
		"rate":        counted(func(r *Result) float64 { return r.AcceptedPerSecond }),
		"linked":      counted(func(r *Result) float64 { return r.LinkedPerSecond }),
		"refused":     counted(func(r *Result) float64 { return float64(r.Requests.Refused) }),
		"unanswered":  counted(func(r *Result) float64 { return float64(r.Requests.Failed) }),
		"late":        counted(func(r *Result) float64 { return float64(r.Requests.Late) }),
		"deadletters": counted(func(r *Result) float64 { return float64(r.Reconciliation.DeadLettered) }),
		"orphans":     counted(func(r *Result) float64 { return float64(r.Reconciliation.Orphans) }),
		"drain":       {Seconds, func(r *Result) (float64, bool) { return r.Drain, r.Drain > 0 }},
		"cpu":         {Number, (*Result).CPUPerThousand},
		"memory":      {Bytes, (*Result).PeakMemory},
	}
	for name, percentile := range map[string]func(Latency) float64{
		"p50":  func(l Latency) float64 { return l.P50 },
		"p90":  func(l Latency) float64 { return l.P90 },
		"p99":  func(l Latency) float64 { return l.P99 },
		"p999": func(l Latency) float64 { return l.P999 },
		"max":  func(l Latency) float64 { return l.Max },
		"mean": func(l Latency) float64 { return l.Mean },
	} {
		links := figure{Seconds, func(r *Result) (float64, bool) { return percentile(r.Links), r.Links.Count > 0 }}
		all[name], all["links."+name] = links, links
		all["answer."+name] = figure{Seconds, func(r *Result) (float64, bool) {
			return percentile(r.Answer), r.Answer.Count > 0
		}}
	}
	for _, name := range []string{"serve", "webhook", "worker", "auvious", "nats", "load", "all"} {
		all[name+".cpu"] = ofPart(name, Number, func(p Part) float64 { return p.CPUPerThousand })
		all[name+".memory"] = ofPart(name, Bytes, func(p Part) float64 { return float64(p.PeakMemory) })
	}
	return all
}

// counted is a number that is measured as soon as a request was sent.
func counted(value func(*Result) float64) figure {
	return figure{Number, func(r *Result) (float64, bool) { return value(r), r.Requests.Sent > 0 }}
}

func ofPart(name string, unit Unit, value func(Part) float64) figure {
	return figure{unit, func(r *Result) (float64, bool) {
		i := slices.IndexFunc(r.Parts, func(p Part) bool { return p.Name == name })
		if i < 0 {
			return 0, false
		}
		return value(r.Parts[i]), true
	}}
}

// CPUPerThousand returns the CPU seconds of all parts per 1,000 accepted events, and whether they were
// measured.
func (r *Result) CPUPerThousand() (float64, bool) {
	var sum float64
	for _, part := range r.Parts {
		sum += part.CPUPerThousand
	}
	return sum, sum > 0
}

// PeakMemory returns the peak memory of the largest part in bytes, and whether it was measured. It leaves out
// the load generator and the simulated auvious, which no operator runs.
func (r *Result) PeakMemory() (float64, bool) {
	var peak int64
	for _, part := range r.Parts {
		if part.Name != "load" && part.Name != "auvious" {
			peak = max(peak, part.PeakMemory)
		}
	}
	return float64(peak), peak > 0
}

// FacadeLatency returns the facade's own latency in seconds, and whether it is known. The setting
// "facade-latency" states it; without the setting the simulated auvious takes no time. The latency of another
// auvious ("auvious-url") is unknown, and a random one is no single number.
func (r *Result) FacadeLatency() (float64, bool) {
	stated, given := r.Settings["facade-latency"]
	if !given {
		_, elsewhere := r.Settings["auvious-url"]
		return 0, !elsewhere
	}
	latency, err := time.ParseDuration(stated)
	return latency.Seconds(), err == nil && latency >= 0
}

// Added returns the latency of the links minus the facade's own, in seconds, and whether both are known.
func (r *Result) Added() (Latency, bool) {
	own, known := r.FacadeLatency()
	if !known || r.Links.Count == 0 {
		return Latency{}, false
	}
	l := r.Links
	l.Curve = nil
	for _, value := range []*float64{&l.Mean, &l.P50, &l.P90, &l.P99, &l.P999, &l.Max} {
		*value = max(0, *value-own)
	}
	return l, true
}
