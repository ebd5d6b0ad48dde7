package worker

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// labelAccount is a label of every metric.
const labelAccount = "account"

// metrics are the metrics of all accounts.
type metrics struct {
	settled     *prometheus.CounterVec
	calls       *prometheus.CounterVec
	failures    *prometheus.CounterVec
	callTime    *prometheus.HistogramVec
	latency     *prometheus.HistogramVec
	inFlight    *prometheus.GaugeVec
	orphans     *prometheus.CounterVec
	deadLetters *prometheus.CounterVec

	unexpectedHosts *prometheus.CounterVec
}

// accountMetrics are the metrics of one account.
type accountMetrics struct {
	settled     *prometheus.CounterVec
	calls       *prometheus.CounterVec
	failures    *prometheus.CounterVec
	callTime    prometheus.Observer
	latency     prometheus.Observer
	inFlight    prometheus.Gauge
	orphans     *prometheus.CounterVec
	deadLetters *prometheus.CounterVec

	unexpectedHosts *prometheus.CounterVec
}

// latencyBuckets are in seconds. They are dense around the usual time of a call.
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
	return &metrics{
		settled: counter("roomlink_events_settled_total",
			"Deliveries of events by outcome: linked, already_linked, already_held, retried, dead_lettered, handed_back.", "outcome"),
		calls: counter("roomlink_facade_calls_total",
			"Calls to the room facade by outcome.", "outcome"),
		failures: counter("roomlink_facade_failures_total",
			"Failed calls of the token endpoint and of the room facade, by endpoint (token, room) and by what came.",
			"endpoint", "cause"),
		callTime: histogram("roomlink_facade_call_duration_seconds",
			"Duration of a call to the room facade, including the fetch of a token."),
		latency: histogram("roomlink_links_latency_seconds",
			"Time from the acceptance of an event until its links were stored."),
		inFlight: auto.NewGaugeVec(prometheus.GaugeOpts{
			Name: "roomlink_events_in_flight", Help: "Events that this process works on.",
		}, account),
		orphans: counter("roomlink_orphans_possible_total",
			"Rooms that may exist without stored links, by cause: unknown_outcome, bad_gateway, redelivery, raced, not_stored.", "cause"),
		deadLetters: counter("roomlink_dead_letters_total",
			"Events that became dead letters, by reason.", "reason"),
		unexpectedHosts: counter("roomlink_unexpected_link_hosts_total",
			"Rooms with an unexpected host, by place: url_base, links. ROOMLINK_LINK_HOSTS refuses such links.", "place"),
	}
}

// The worker collects these two itself, because accounts come and go. A replaced account's breaker may still change.
var (
	tokenAge = prometheus.NewDesc("roomlink_token_age_seconds",
		"Age of the current auvious access token in seconds; 0 without one.", []string{labelAccount}, nil)
	breakerState = prometheus.NewDesc("roomlink_breaker_state",
		"State of the account's breaker: 0 closed, 1 half-open, 2 open.", []string{labelAccount}, nil)
)

// forget deletes a removed account's gauge. Counters stay, as usual.
func (m *metrics) forget(account string) { m.inFlight.DeleteLabelValues(account) }

// of returns the metrics of an account.
func (m *metrics) of(account string) accountMetrics {
	label := prometheus.Labels{labelAccount: account}
	return accountMetrics{
		settled:     m.settled.MustCurryWith(label),
		calls:       m.calls.MustCurryWith(label),
		failures:    m.failures.MustCurryWith(label),
		callTime:    m.callTime.With(label),
		latency:     m.latency.With(label),
		inFlight:    m.inFlight.With(label),
		orphans:     m.orphans.MustCurryWith(label),
		deadLetters: m.deadLetters.MustCurryWith(label),

		unexpectedHosts: m.unexpectedHosts.MustCurryWith(label),
	}
}
