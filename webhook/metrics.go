package webhook

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	events   *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	auto := promauto.With(registerer)
	return &metrics{
		events: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "roomlink_events_total",
			Help: "Calls from Talkdesk by outcome: accepted, duplicate, known, ignored, refused, throttled, unauthorized, " +
				"unavailable, revoked, token_issued, token_refused. A call without valid credentials has no account.",
		}, []string{"account", "outcome"}),
		duration: auto.NewHistogram(prometheus.HistogramOpts{
			Name:    "roomlink_receive_duration_seconds",
			Help:    "Time to answer a call from Talkdesk, with the broker's acknowledgement.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2, 4},
		}),
	}
}
