package load

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of the histograms, in microseconds, and their precision.
const (
	minLatency    = 1
	maxLatency    = int64(time.Hour / time.Microsecond)
	latencyDigits = 3
	// curveTicks is the number of points of a curve in each half of the distance to 100 %.
	curveTicks = 5
)

// latencies counts latencies in microseconds: recent are those since the last sample, older those before it.
type latencies struct{ recent, older *hdrhistogram.Histogram }

func newLatencies() latencies {
	return latencies{
		hdrhistogram.New(minLatency, maxLatency, latencyDigits),
		hdrhistogram.New(minLatency, maxLatency, latencyDigits),
	}
}

func (l latencies) record(d time.Duration) {
	_ = l.recent.RecordValue(min(max(d.Microseconds(), 0), maxLatency)) // always in range
}

// flush moves the recent latencies to the older ones and returns two of their percentiles in seconds.
func (l latencies) flush() (p50, p99 float64) {
	if l.recent.TotalCount() > 0 {
		p50, p99 = seconds(l.recent.ValueAtPercentile(50)), seconds(l.recent.ValueAtPercentile(99))
		l.older.Merge(l.recent)
		l.recent.Reset()
	}
	return p50, p99
}

// result returns the distribution of all latencies.
func (l latencies) result() Latency {
	l.flush()
	h := l.older
	got := Latency{Count: int(h.TotalCount())}
	if got.Count == 0 {
		return got
	}
	got.Mean = h.Mean() / float64(time.Second/time.Microsecond)
	got.P50, got.P90 = seconds(h.ValueAtPercentile(50)), seconds(h.ValueAtPercentile(90))
	got.P99, got.P999 = seconds(h.ValueAtPercentile(99)), seconds(h.ValueAtPercentile(99.9))
	got.Max = seconds(h.Max())
	for _, bracket := range h.CumulativeDistributionWithTicks(curveTicks) {
		got.Curve = append(got.Curve, Point{bracket.Quantile, seconds(bracket.ValueAt)})
	}
	return got
}

func seconds(microseconds int64) float64 {
	return (time.Duration(microseconds) * time.Microsecond).Seconds()
}

// meter counts what happens in a load test. Durations count from start.
type meter struct {
	start time.Time

	inFlight atomic.Int64
	// accepted, linked and finished count conversations; see [finished] for the last.
	accepted, linked, finished atomic.Int64

	mu       sync.Mutex
	requests Requests
	answer   latencies
	links    latencies
	// firstDue is the due time of the first request, -1 before it. The others are the times of the last event
	// of their kind.
	firstDue, lastResponse, lastAccepted, lastLinks time.Duration
	// sampled contains the totals at the last sample.
	sampled Sample
	series  []Sample
}

func newMeter() *meter {
	return &meter{
		start: time.Now(), firstDue: -1, requests: Requests{Statuses: map[int]int{}},
		answer: newLatencies(), links: newLatencies(),
	}
}

// sending counts a request that is about to be sent.
func (m *meter) sending(due time.Duration) {
	delay := time.Since(m.start) - due
	m.inFlight.Add(1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests.Sent++
	if delay > maxDelay {
		m.requests.Late++
	}
	if m.firstDue < 0 || due < m.firstDue {
		m.firstDue = due
	}
}

// responded counts a request by its response, or by the error that came in its place.
func (m *meter) responded(c *conversation, due time.Duration, got response, err error) {
	now := time.Since(m.start)
	m.inFlight.Add(-1)
	accepted := err == nil && (got.status == http.StatusAccepted || got.duplicate)
	switch {
	case accepted:
		c.acceptedAt.CompareAndSwap(0, int64(now))
		m.mark(c, markAccepted, now)
	case err != nil:
		c.marks.Or(markUnanswered)
	default:
		c.marks.Or(markRefused)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastResponse = max(m.lastResponse, now)
	switch {
	case err != nil:
		m.requests.Failed++
	case got.duplicate:
		m.requests.Duplicates++
	case accepted:
		m.requests.Accepted++
	default:
		m.requests.Refused++
		m.requests.Statuses[got.status]++
	}
	if accepted {
		m.lastAccepted = max(m.lastAccepted, now)
		m.answer.record(now - due)
	}
}

// mark sets a mark of a conversation and updates the counts that depend on it.
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
	if !finished(old) && finished(old|mark) {
		m.finished.Add(1)
	}
	// Response and links come in any order. The second one records the latency.
	if both := markAccepted | markLinked; old&both == 0 || (old|mark)&both != both {
		return
	}
	latency := time.Duration(0) // the links came before the response
	if mark == markLinked {
		latency = now - time.Duration(c.acceptedAt.Load())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links.record(latency)
}

// sawLinks counts a set of links. A load test renews no links, so a second set for the same conversation is a
// double.
func (m *meter) sawLinks(c *conversation) {
	now := time.Since(m.start)
	if c.marks.Load()&markLinked != 0 {
		c.marks.Or(markDouble)
		return
	}
	m.mark(c, markLinked, now)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastLinks = max(m.lastLinks, now)
}

// sawDeadLetter counts a dead letter.
func (m *meter) sawDeadLetter(c *conversation) { m.mark(c, markDead, time.Since(m.start)) }

// sample appends a sample of what happened since the last one to the series, and returns it.
func (m *meter) sample(queue int) Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	total := Sample{
		Sent: m.requests.Sent, Accepted: m.requests.Accepted, Linked: int(m.linked.Load()),
		Failed: m.requests.Failed + m.requests.Refused,
	}
	s := Sample{
		At: len(m.series), Sent: total.Sent - m.sampled.Sent, Accepted: total.Accepted - m.sampled.Accepted,
		Linked: total.Linked - m.sampled.Linked, Failed: total.Failed - m.sampled.Failed,
		InFlight: int(m.inFlight.Load()), Queue: queue,
	}
	s.AnswerP50, s.AnswerP99 = m.answer.flush()
	s.LinksP50, s.LinksP99 = m.links.flush()
	m.sampled = total
	m.series = append(m.series, s)
	return s
}
