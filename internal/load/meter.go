package load

import (
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// maxLatency is the end of the range of the histograms, in microseconds.
	maxLatency = int64(time.Hour / time.Microsecond)
	// latencyDigits is the number of significant digits of a recorded latency.
	latencyDigits = 3
	// curveTicks is the number of points of a curve in each half of the distance to 100 %.
	curveTicks = 5
	// maxDelay is the delay after its due time at which a request counts as late.
	maxDelay = 10 * time.Millisecond
	// duplicateWindow is the number of latest conversations that a duplicate may repeat.
	duplicateWindow = 256
)

// latencies counts latencies in microseconds: all of them, and those since the last sample.
type latencies struct{ all, recent *hdrhistogram.Histogram }

func newLatencies() latencies {
	return latencies{
		hdrhistogram.New(1, maxLatency, latencyDigits),
		hdrhistogram.New(1, maxLatency, latencyDigits),
	}
}

func (l latencies) record(d time.Duration) {
	value := min(max(d.Microseconds(), 0), maxLatency)
	_ = l.all.RecordValue(value) // always in range
	_ = l.recent.RecordValue(value)
}

// sample returns two percentiles of the recent latencies in seconds, and forgets them.
func (l latencies) sample() (p50, p99 float64) {
	p50, p99 = seconds(l.recent.ValueAtPercentile(50)), seconds(l.recent.ValueAtPercentile(99))
	l.recent.Reset()
	return p50, p99
}

// result returns the distribution of all latencies.
func (l latencies) result() Latency {
	h := l.all
	if h.TotalCount() == 0 {
		return Latency{}
	}
	got := Latency{
		Count: int(h.TotalCount()),
		Mean:  h.Mean() / float64(time.Second/time.Microsecond),
		P50:   seconds(h.ValueAtPercentile(50)),
		P90:   seconds(h.ValueAtPercentile(90)),
		P99:   seconds(h.ValueAtPercentile(99)),
		P999:  seconds(h.ValueAtPercentile(99.9)),
		Max:   seconds(h.Max()),
	}
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

	mu            sync.Mutex
	conversations conversations
	requests      Requests
	answer, links latencies
	// accepted, linked and finished count conversations.
	accepted, linked, finished int
	// inFlight counts the requests under way.
	inFlight int
	// firstDue is the due time of the first request. The others are the times of the last event of their kind.
	firstDue, lastResponse, lastAccepted, lastLinks time.Duration
	// current is the sample of the current second.
	current Sample
	series  []Sample
}

func newMeter() *meter {
	return &meter{
		start: time.Now(), firstDue: math.MaxInt64, conversations: newConversations(),
		requests: Requests{Statuses: map[int]int{}}, answer: newLatencies(), links: newLatencies(),
	}
}

// sending counts a request that is about to be sent. It returns the index of the conversation to send: a new
// one, or with repeat a recent one.
func (m *meter) sending(due time.Duration, repeat bool) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inFlight++
	m.requests.Sent++
	m.current.Sent++
	if time.Since(m.start)-due > maxDelay {
		m.requests.Late++
	}
	m.firstDue = min(m.firstDue, due)
	if count := m.conversations.count; repeat && count > 0 {
		return count - 1 - rand.IntN(min(count, duplicateWindow))
	}
	return m.conversations.add()
}

// responded counts a request by its response, or by the error that came in its place.
func (m *meter) responded(index int, due time.Duration, got response, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Since(m.start)
	c := m.conversations.at(index)
	m.inFlight--
	m.lastResponse = now
	switch {
	case err != nil:
		c.unanswered = true
		m.requests.Failed++
		m.current.Failed++
	case got.duplicate:
		m.requests.Duplicates++
		m.accept(c, due, now)
	case got.status == http.StatusAccepted:
		m.requests.Accepted++
		m.current.Accepted++
		m.accept(c, due, now)
	default:
		m.requests.Refused++
		m.requests.Statuses[got.status]++
		m.current.Failed++
	}
}

// accept counts a 2xx response.
func (m *meter) accept(c *conversation, due, now time.Duration) {
	m.lastAccepted = now
	m.answer.record(now - due)
	if c.accepted {
		return
	}
	c.accepted, c.acceptedAt = true, now
	m.accepted++
	if c.linked {
		m.links.record(0) // the links came before the response
	}
	m.finish(c)
}

// sawLinks counts the links on a subject. A load test renews no links, so a second set for the same
// conversation is a double.
func (m *meter) sawLinks(subject string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.conversations.bySubject(subject)
	switch {
	case c == nil:
		return
	case c.linked:
		c.double = true
		return
	}
	c.linked = true
	m.linked++
	m.current.Linked++
	m.lastLinks = time.Since(m.start)
	if c.accepted {
		m.links.record(m.lastLinks - c.acceptedAt)
	}
	m.finish(c)
}

// sawDeadLetter counts the dead letter on a subject.
func (m *meter) sawDeadLetter(subject string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.conversations.bySubject(subject); c != nil {
		c.dead = true
		m.finish(c)
	}
}

// finish counts a conversation once it was accepted and has links or a dead letter.
func (m *meter) finish(c *conversation) {
	if !c.finished && c.accepted && (c.linked || c.dead) {
		c.finished = true
		m.finished++
	}
}

// progress returns the number of conversations that were accepted, and of those that have finished.
func (m *meter) progress() (accepted, finished int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.accepted, m.finished
}

// sample appends a sample of what happened since the last one to the series, and returns it.
func (m *meter) sample(queue int) Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.current
	s.At, s.InFlight, s.Queue = len(m.series), m.inFlight, queue
	s.AnswerP50, s.AnswerP99 = m.answer.sample()
	s.LinksP50, s.LinksP99 = m.links.sample()
	m.current = Sample{}
	m.series = append(m.series, s)
	return s
}
