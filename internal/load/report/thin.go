package report

import (
	"slices"

	"roomlink/internal/load"
)

// thinned puts seconds together until a plot can hold them. Rates and medians are
// averaged; what tells of trouble, a 99th percentile, the queue and the requests in
// flight, is the worst of them.
func thinned(all []load.Sample) []load.Sample { return joined(all, maxPoints) }

// spans are how many seconds a point may stand for; beyond them it is whole days.
var spans = []int{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600}

// joined puts seconds together so that at most limit are left.
func joined(all []load.Sample, limit int) []load.Sample {
	const day = 24 * 3600
	width := day * ((len(all) + limit*day - 1) / (limit * day))
	for _, span := range spans {
		if len(all) <= span*limit {
			width = span
			break
		}
	}
	if width <= 1 {
		return all
	}
	var thin []load.Sample
	for chunk := range slices.Chunk(all, width) {
		thin = append(thin, join(chunk))
	}
	return thin
}

func join(chunk []load.Sample) load.Sample {
	sum := load.Sample{At: chunk[0].At, Queue: -1}
	var answered, linked int
	for _, s := range chunk {
		sum.Sent += s.Sent
		sum.Accepted += s.Accepted
		sum.Linked += s.Linked
		sum.Failed += s.Failed
		sum.InFlight = max(sum.InFlight, s.InFlight)
		sum.Queue = max(sum.Queue, s.Queue)
		sum.AnswerP99 = max(sum.AnswerP99, s.AnswerP99)
		sum.LinksP99 = max(sum.LinksP99, s.LinksP99)
		if s.AnswerP50 > 0 {
			sum.AnswerP50 += s.AnswerP50
			answered++
		}
		if s.LinksP50 > 0 {
			sum.LinksP50 += s.LinksP50
			linked++
		}
	}
	sum.AnswerP50 /= float64(max(1, answered))
	sum.LinksP50 /= float64(max(1, linked))
	for _, number := range []*int{&sum.Sent, &sum.Accepted, &sum.Linked} {
		*number = (*number + len(chunk)/2) / len(chunk)
	}
	// One failure is seen, however long the load test was.
	sum.Failed = (sum.Failed + len(chunk) - 1) / len(chunk)
	return sum
}
