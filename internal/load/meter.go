package load

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What the histograms tell apart: from a microsecond to an hour, to three digits.
const (
	leastLatency   = 1
	mostLatency    = int64(time.Hour / time.Microsecond)
	latencyDigits  = 3
	ticksPerHalf   = 5
	perMicrosecond = int64(time.Microsecond)
)

// latencies count latencies, in microseconds: those since the last sample, and
// those before.
type latencies struct{ fresh, all *hdrhistogram.Histogram }

func newLatencies() latencies {
	return latencies{
		hdrhistogram.New(leastLatency, mostLatency, latencyDigits),
		hdrhistogram.New(leastLatency, mostLatency, latencyDigits),
	}
}

func (l latencies) record(d time.Duration) {
	_ = l.fresh.RecordValue(min(max(int64(d)/perMicrosecond, 0), mostLatency)) // in range
}

// turn puts what is fresh to the rest, and returns two of its percentiles in
// seconds.
func (l latencies) turn() (p50, p99 float64) {
	if l.fresh.TotalCount() > 0 {
		p50, p99 = seconds(l.fresh.ValueAtPercentile(50)), seconds(l.fresh.ValueAtPercentile(99))
		l.all.Merge(l.fresh)
		l.fresh.Reset()
	}
	return p50, p99
}

// result returns all of it.
func (l latencies) result() Latency {
	l.turn()
	h := l.all
	found := Latency{Count: int(h.TotalCount())}
	if found.Count == 0 {
		return found
	}
	found.Mean = h.Mean() / float64(time.Second/time.Microsecond)
	found.P50, found.P90 = seconds(h.ValueAtPercentile(50)), seconds(h.ValueAtPercentile(90))
	found.P99, found.P999 = seconds(h.ValueAtPercentile(99)), seconds(h.ValueAtPercentile(99.9))
	found.Max = seconds(h.Max())
	for _, bracket := range h.CumulativeDistributionWithTicks(ticksPerHalf) {
		found.Curve = append(found.Curve, Point{bracket.Quantile, seconds(bracket.ValueAt)})
	}
	return found
}

func seconds(microseconds int64) float64 {
	return (time.Duration(microseconds) * time.Microsecond).Seconds()
}

// meter counts what happens in a load test. Times are since it began.
type meter struct {
	began time.Time

	inFlight atomic.Int64
	// accepted, linked and finished count conversations: with a 2xx, with links, and
	// with a 2xx and their end.
	accepted, linked, finished atomic.Int64

	mu       sync.Mutex
	requests Requests
	answer   latencies
	links    latencies
	// first is when the first request was due; the others are the last of a kind.
	first, lastAnswer, lastAccepted, lastLinks time.Duration
	// sampled is what the last sample counted up to.
	sampled Sample
	series  []Sample
}

func newMeter() *meter {
	return &meter{
		began: time.Now(), first: -1, requests: Requests{Statuses: map[int]int{}},
		answer: newLatencies(), links: newLatencies(),
	}
}

// sending counts a request that was due at a time.
func (m *meter) sending(due time.Duration, late bool) {
	m.inFlight.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests.Sent++
	if late {
		m.requests.Late++
	}
	if m.first < 0 || due < m.first {
		m.first = due
	}
}

// outcome is what became of a request.
type outcome struct {
	// due is when it was to be sent, since the beginning.
	due    time.Duration
	answer answer
	err    error
}

// answered counts a request by its answer.
func (m *meter) answered(c *conversation, o outcome) {
	now := time.Since(m.began)
	m.inFlight.Add(-1)
	stored := o.err == nil && (o.answer.status == http.StatusAccepted || o.answer.repeated)
	switch {
	case stored:
		c.acceptedAt.CompareAndSwap(0, int64(now))
		m.mark(c, markAccepted, now)
	case o.err != nil:
		c.marks.Or(markUnanswered)
	default:
		c.marks.Or(markRefused)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastAnswer = max(m.lastAnswer, now)
	switch {
	case o.err != nil:
		m.requests.Failed++
		return
	case o.answer.repeated:
		m.requests.Duplicates++
	case stored:
		m.requests.Accepted++
	default:
		m.requests.Refused++
		m.requests.Statuses[o.answer.status]++
		return
	}
	m.lastAccepted = max(m.lastAccepted, now)
	m.answer.record(now - o.due)
}

// mark notes one more thing of a conversation, and counts it by what is known now.
func (m *meter) mark(c *conversation, mark uint32, now time.Duration) {
	old := c.marks.Or(mark)
	if old&mark != 0 {
		return
	}
	switch mark {
	case markAccepted:
		m.accepted.Add(1)
	case markLinked:
		m.linked.Add(1)
	}
	if !ended(old) && ended(old|mark) {
		m.finished.Add(1)
	}
	// Whichever comes second knows how long the links took.
	if both := markAccepted | markLinked; old&both == 0 || (old|mark)&both != both {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	took := time.Duration(0) // the links were there before the answer
	if mark == markLinked {
		took = now - time.Duration(c.acceptedAt.Load())
	}
	m.links.record(took)
}

// sawLinks notes a set of links of a conversation. No load renews any, so two
// sets are of one generation.
func (m *meter) sawLinks(c *conversation) {
	now := time.Since(m.began)
	if c.marks.Load()&markLinked != 0 {
		c.marks.Or(markDouble)
		return
	}
	m.mark(c, markLinked, now)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastLinks = max(m.lastLinks, now)
}

// sawDeadLetter notes a dead letter of a conversation.
func (m *meter) sawDeadLetter(c *conversation) { m.mark(c, markDead, time.Since(m.began)) }

// sample closes a second of the series.
func (m *meter) sample(queue int) Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	linked := int(m.linked.Load())
	total := Sample{
		Sent: m.requests.Sent, Accepted: m.requests.Accepted, Linked: linked,
		Failed: m.requests.Failed + m.requests.Refused,
	}
	s := Sample{
		At: len(m.series), Sent: total.Sent - m.sampled.Sent, Accepted: total.Accepted - m.sampled.Accepted,
		Linked: total.Linked - m.sampled.Linked, Failed: total.Failed - m.sampled.Failed,
		InFlight: int(m.inFlight.Load()), Queue: queue,
	}
	s.AnswerP50, s.AnswerP99 = m.answer.turn()
	s.LinksP50, s.LinksP99 = m.links.turn()
	m.sampled = total
	m.series = append(m.series, s)
	return s
}
