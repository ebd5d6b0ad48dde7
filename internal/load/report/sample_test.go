package report_test

import (
	"math"
	"time"

	"roomlink/internal/load"
)

// sample returns the result of a minute at 2,000 events per second with a facade latency
// of 50 ms.
func sample() load.Result {
	r := run(60, 0.0505)
	var conditions []load.Condition
	for _, expression := range []string{"p50<55ms", "p99<80ms", "answer.p99<50ms", "rate>=1950", "serve.memory<=150MB", "cpu<=0.4"} {
		condition, err := load.ParseCondition(expression)
		if err != nil {
			panic(err)
		}
		conditions = append(conditions, condition)
	}
	r.Reconcile()
	r.Judge(conditions)
	return r
}

// run returns a result of that many seconds. links is the minimum latency of the links.
func run(seconds int, links float64) load.Result {
	events := 2000 * seconds
	r := load.Result{
		Version: "v1.0.0", Machine: load.Machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26.8"},
		StartedAt: time.Date(2026, time.November, 25, 21, 30, 0, 0, time.UTC),
		Settings: map[string]string{
			"rate": "2000", "duration": "1m", "facade-latency": "50ms", "sync": "2m",
		},
		Duration: float64(seconds) + 0.07,
		Requests: load.Requests{
			Sent: events + 240, Accepted: events, Duplicates: 240, Statuses: map[int]int{}, Late: 3,
		},
		AcceptedPerSecond: 1998.4, LinkedPerSecond: 1996.9,
		Answer: distribution(events, 0, 0.0011),
		Links:  distribution(events, links, 0.0036),
		Parts: []load.Part{
			{Name: "serve", CPUSeconds: 25.4, CPUPerThousand: 0.2117, PeakMemory: 96_400_000},
			{Name: "auvious", CPUSeconds: 4.6, CPUPerThousand: 0.0383, PeakMemory: 41_000_000},
			{Name: "load", CPUSeconds: 7.9, CPUPerThousand: 0.0658, PeakMemory: 88_200_000},
		},
		Facade: load.Facade{Counted: true, Calls: events, Rooms: events, TokenCalls: 1},
		Reconciliation: load.Reconciliation{
			Sent: events, Accepted: events, Linked: events,
		},
	}
	r.Series = series(seconds, links)
	return r
}

// distribution returns latencies of at least minimum, in seconds, with a long tail.
func distribution(count int, minimum, mean float64) load.Latency {
	at := func(percentile float64) float64 {
		nines := -math.Log10(max(1-percentile/100, 1/float64(count)))
		return minimum + mean*(0.3+1.5*nines+0.3*nines*nines)
	}
	l := load.Latency{
		Count: count, Mean: minimum + mean,
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: at(100),
	}
	for step := range 61 {
		percentile := 100 * (1 - math.Pow(10, -float64(step)/8))
		l.Curve = append(l.Curve, load.Point{Percentile: percentile, Value: at(percentile)})
	}
	l.Curve = append(l.Curve, load.Point{Percentile: 100, Value: l.Max})
	return l
}

// series returns a steady load with a stall in the middle.
func series(seconds int, links float64) []load.Sample {
	var all []load.Sample
	for at := range seconds {
		wave := math.Sin(float64(at)*1.7) + math.Sin(float64(at)*0.9)
		s := load.Sample{
			At: at, Sent: 2000, Accepted: 2000 + int(3*wave), Linked: 1998 + int(6*wave),
			InFlight: 3, Queue: 100 + int(9*wave),
			AnswerP50: 0.0008 + 0.00004*wave, AnswerP99: 0.005 + 0.0006*wave,
			LinksP50: links + 0.0025 + 0.0003*wave, LinksP99: links + 0.0166 + 0.0022*wave,
		}
		if at == seconds/2 {
			s.Accepted, s.Linked, s.Queue = 1720, 1490, 520
			s.AnswerP99, s.LinksP99 = 0.031, links+0.048
		}
		if at == 0 {
			s.Linked = 1890
		}
		all = append(all, s)
	}
	return all
}
