package webhook

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"roomlink/internal/telemetry"
)

// Some outcomes of calls.
const (
	outcomeKnown       = "known"
	outcomeIgnored     = "ignored"
	outcomeUnavailable = "unavailable"
	outcomeRevoked     = "revoked"
)

// outcomes are the outcomes of calls. Every series exists from the start.
var outcomes = []string{
	"accepted", "duplicate", outcomeKnown, outcomeIgnored, "refused", "throttled", "unauthorized", outcomeUnavailable,
	outcomeRevoked,
	"token_issued", "token_refused",
}

type metrics struct {
	labels   *telemetry.AccountLabels
	events   *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer, labels *telemetry.AccountLabels) *metrics {
	auto := promauto.With(registerer)
	return &metrics{
		labels: labels,
		events: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "roomlink_events_total",
			Help: "Calls from Talkdesk by outcome: accepted, duplicate, known, ignored, refused, throttled, unauthorized, " +
				"unavailable, revoked, token_issued, token_refused. A call without valid credentials has no account. Sum over processes.",
		}, []string{"account", "outcome"}),
		duration: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "roomlink_receive_duration_seconds",
			Help:    "Time to answer a call from Talkdesk, with the broker's acknowledgement. Sum over processes.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2, 4},
		}),
	}
}

// count adds a number of calls of an account; "" for calls without one.
func (m *metrics) count(account, outcome string, calls float64) {
	if account != "" {
		account = m.labels.Of(account)
	}
	m.events.WithLabelValues(account, outcome).Add(calls)
}

// add makes all series of an account.
func (m *metrics) add(account string) {
	for _, outcome := range outcomes {
		m.count(account, outcome, 0)
	}
}
