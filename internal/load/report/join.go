package report

import (
	"slices"

	"roomlink/internal/load"
	"roomlink/internal/load/plot"
)

// join joins seconds until at most limit samples are left. A joined sample has the average of the rates and of
// the medians, and the maximum of the 99th percentiles, of the queue and of the requests in flight, because the
// maximum shows trouble. A latency that was not measured is NaN.
func join(series []load.Sample, limit int) []load.Sample {
	var joined []load.Sample
	for chunk := range slices.Chunk(series, int(plot.TimeStep(float64(len(series)), limit))) {
		joined = append(joined, joinAll(chunk))
	}
	return joined
}

func joinAll(chunk []load.Sample) load.Sample {
	sum := load.Sample{At: chunk[0].At, Queue: -1}
	var answered, linked float64
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
	sum.AnswerP50 /= answered // 0/0 is NaN
	sum.LinksP50 /= linked
	sum.AnswerP99, sum.LinksP99 = nonZero(sum.AnswerP99), nonZero(sum.LinksP99)
	for _, number := range []*int{&sum.Sent, &sum.Accepted, &sum.Linked} {
		*number = (*number + len(chunk)/2) / len(chunk)
	}
	// Rounding up shows a single failure of a long load test.
	sum.Failed = (sum.Failed + len(chunk) - 1) / len(chunk)
	return sum
}
