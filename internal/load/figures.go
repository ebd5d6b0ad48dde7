package load

import (
	"slices"
	"strings"
	"time"
)

// figure is something that a condition can ask for.
type figure struct {
	unit Unit
	// value returns it, and whether it was measured.
	value func(*Result) (float64, bool)
}

// The names that stand in several places.
const (
	figureCPU  = "cpu"
	scopeLinks = "links"
)

// partNames are those of [Part.Name].
var partNames = []string{"serve", "webhook", "worker", "auvious", "nats", "load", "all"}

// percentiles are what is asked of a latency.
var percentiles = map[string]func(Latency) float64{
	"p50":  func(l Latency) float64 { return l.P50 },
	"p90":  func(l Latency) float64 { return l.P90 },
	"p99":  func(l Latency) float64 { return l.P99 },
	"p999": func(l Latency) float64 { return l.P999 },
	"max":  func(l Latency) float64 { return l.Max },
	"mean": func(l Latency) float64 { return l.Mean },
}

// figures are those without a scope, but the latencies.
var figures = map[string]figure{
	"rate":        counted(func(r *Result) float64 { return r.AcceptedPerSecond }),
	"linked":      counted(func(r *Result) float64 { return r.LinkedPerSecond }),
	"refused":     counted(func(r *Result) float64 { return float64(r.Requests.Refused) }),
	"unanswered":  counted(func(r *Result) float64 { return float64(r.Requests.Failed) }),
	"late":        counted(func(r *Result) float64 { return float64(r.Requests.Late) }),
	"deadletters": counted(func(r *Result) float64 { return float64(r.Reconciliation.DeadLettered) }),
	"orphans":     counted(func(r *Result) float64 { return float64(r.Reconciliation.Orphans) }),
	"drain":       {unit: Seconds, value: func(r *Result) (float64, bool) { return r.Drain, r.Drain > 0 }},
	figureCPU:     {value: (*Result).CPUPerThousand},
	"memory":      {unit: Bytes, value: (*Result).PeakMemory},
}

func counted(value func(*Result) float64) figure {
	return figure{value: func(r *Result) (float64, bool) { return value(r), r.Requests.Sent > 0 }}
}

// figureOf finds a figure by its name.
func figureOf(name string) (figure, bool) {
	if found, known := figures[name]; known {
		return found, true
	}
	scope, of, scoped := strings.Cut(strings.Replace(name, "p99.9", "p999", 1), ".")
	if !scoped {
		scope, of = scopeLinks, scope
	}
	percentile, isLatency := percentiles[of]
	switch {
	case isLatency && scope == scopeLinks:
		return latency(percentile, func(r *Result) Latency { return r.Links }), true
	case isLatency && scope == "answer":
		return latency(percentile, func(r *Result) Latency { return r.Answer }), true
	case slices.Contains(partNames, scope):
		return figureOfPart(scope, of)
	}
	return figure{}, false
}

func latency(percentile func(Latency) float64, of func(*Result) Latency) figure {
	return figure{unit: Seconds, value: func(r *Result) (float64, bool) {
		l := of(r)
		return percentile(l), l.Count > 0
	}}
}

func figureOfPart(name, of string) (figure, bool) {
	var f figure
	var value func(Part) float64
	switch of {
	case figureCPU:
		value = func(p Part) float64 { return p.CPUPerThousand }
	case "memory":
		f.unit, value = Bytes, func(p Part) float64 { return float64(p.PeakMemory) }
	default:
		return f, false
	}
	f.value = func(r *Result) (float64, bool) {
		at := slices.IndexFunc(r.Parts, func(p Part) bool { return p.Name == name })
		if at < 0 {
			return 0, false
		}
		return value(r.Parts[at]), true
	}
	return f, true
}

// CPUPerThousand returns the CPU seconds that all parts together used for 1,000
// accepted events, and whether that was measured.
func (r *Result) CPUPerThousand() (float64, bool) {
	var sum float64
	for _, part := range r.Parts {
		sum += part.CPUPerThousand
	}
	return sum, sum > 0
}

// PeakMemory returns the bytes that the largest part had resident, and whether that
// was measured. The load generator and the simulated auvious do not count: nobody
// runs them with the product.
func (r *Result) PeakMemory() (float64, bool) {
	var most int64
	for _, part := range r.Parts {
		if part.Name != "load" && part.Name != "auvious" {
			most = max(most, part.PeakMemory)
		}
	}
	return float64(most), most > 0
}

// FacadeLatency returns the facade's own latency in seconds, and whether it is
// known: the setting "facade-latency" states it, and without that and without an
// "auvious-url" it is 0. A distribution has none that could be taken off a
// percentile.
func (r *Result) FacadeLatency() (float64, bool) {
	stated, given := r.Settings["facade-latency"]
	if !given {
		_, elsewhere := r.Settings["auvious-url"]
		return 0, !elsewhere
	}
	latency, err := time.ParseDuration(stated)
	return latency.Seconds(), err == nil && latency >= 0
}

// Added returns the latency of the links over the facade's own, percentile by
// percentile and in seconds, and whether both are known.
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
