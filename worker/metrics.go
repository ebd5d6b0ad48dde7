package worker

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"roomlink/worker/auvious"
)

// labelAccount is the label that every metric of ours has.
const labelAccount = "account"

// metrics are the worker's, for all accounts.
type metrics struct {
	settled     *prometheus.CounterVec
	calls       *prometheus.CounterVec
	callTime    *prometheus.HistogramVec
	latency     *prometheus.HistogramVec
	inFlight    *prometheus.GaugeVec
	orphans     *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
}

// accountMetrics are those of one account.
type accountMetrics struct {
	settled     *prometheus.CounterVec
	calls       *prometheus.CounterVec
	callTime    prometheus.Observer
	latency     prometheus.Observer
	inFlight    prometheus.Gauge
	orphans     *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
}

// latencyBuckets are in seconds, close together where a call usually ends.
var latencyBuckets = []float64{.005, .01, .02, .03, .05, .08, .12, .2, .35, .6, 1, 2, 4, 8, 15, 30, 60, 300, 900}

func newMetrics(registerer prometheus.Registerer) *metrics {
	auto := promauto.With(registerer)
	account := []string{labelAccount}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append(account, labels...))
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return auto.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencyBuckets}, account)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return auto.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, account)
	}
	return &metrics{
		settled: counter("roomlink_events_settled_total",
			"Deliveries of events by how they ended: linked, already_linked, already_held, retried, dead_lettered, handed_back.", "outcome"),
		calls: counter("roomlink_facade_calls_total",
			"Calls of the room facade by outcome.", "outcome"),
		callTime: histogram("roomlink_facade_call_duration_seconds",
			"How long calls of the room facade took, fetching a token included."),
		latency: histogram("roomlink_links_latency_seconds",
			"From the acceptance of an event to its links being stored."),
		inFlight: gauge("roomlink_events_in_flight",
			"Events that this process works on."),
		orphans: counter("roomlink_orphans_possible_total",
			"Rooms that may exist and that no links lead to, by cause: unknown_outcome, redelivery, raced, not_stored.", "cause"),
		deadLetters: counter("roomlink_dead_letters_total",
			"Events that became dead letters, by reason.", "reason"),
	}
}

// tokenAge is collected by the worker, as accounts come and go.
var tokenAge = prometheus.NewDesc("roomlink_token_age_seconds",
	"How old the access token of auvious is that is in use; 0 without one.", []string{labelAccount}, nil)

// breakerState likewise: of an account that was changed, the breaker of the one before
// may still move.
var breakerState = prometheus.NewDesc("roomlink_breaker_state",
	"The breaker of an account: 0 closed, 1 half-open, 2 open.", []string{labelAccount}, nil)

// forget takes the gauge of an account away that is gone. Its counters stay, as
// counters do.
func (m *metrics) forget(account string) {
	m.inFlight.DeleteLabelValues(account)
}

func (m *metrics) of(account string) accountMetrics {
	label := prometheus.Labels{labelAccount: account}
	return accountMetrics{
		settled:     m.settled.MustCurryWith(label),
		calls:       m.calls.MustCurryWith(label),
		callTime:    m.callTime.With(label),
		latency:     m.latency.With(label),
		inFlight:    m.inFlight.With(label),
		orphans:     m.orphans.MustCurryWith(label),
		deadLetters: m.deadLetters.MustCurryWith(label),
	}
}

func (m accountMetrics) call(err error, took time.Duration) {
	m.calls.WithLabelValues(callOutcome(err)).Inc()
	m.callTime.Observe(took.Seconds())
}

// callOutcome names how a call ended.
func callOutcome(err error) string {
	switch {
	case err == nil:
		return "created"
	case errors.Is(err, auvious.ErrRejected):
		return "rejected"
	case errors.Is(err, auvious.ErrBadAnswer):
		return "bad_answer"
	case errors.Is(err, auvious.ErrAccount):
		return "account_refused"
	case errors.Is(err, auvious.ErrUnknownOutcome):
		return "unknown_outcome"
	}
	return "not_done"
}
