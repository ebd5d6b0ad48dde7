package storecheck

import (
	"github.com/prometheus/client_golang/prometheus"

	"roomlink/messages"
)

var missingEvents = prometheus.NewDesc("roomlink_store_missing_events",
	"Messages that the store has lost, until somebody accepts the loss. Each process has its own store.", []string{"stream"}, nil)

// Metric collects the number of missing messages from the report in a data directory, so that it
// falls as soon as somebody accepts the loss.
type Metric struct{ Dir string }

var _ prometheus.Collector = Metric{}

// Describe implements [prometheus.Collector].
func (Metric) Describe(out chan<- *prometheus.Desc) { out <- missingEvents }

// Collect implements [prometheus.Collector].
func (m Metric) Collect(out chan<- prometheus.Metric) {
	report, err := ReadReport(m.Dir)
	if err != nil {
		out <- prometheus.NewInvalidMetric(missingEvents, err)
		return
	}
	counts := map[string]int{
		messages.ConversationsStream: report.More, messages.LinksStream: 0, messages.DeadLettersStream: 0,
	}
	for _, lost := range report.Missing {
		counts[lost.Stream]++
	}
	for stream, count := range counts {
		out <- prometheus.MustNewConstMetric(missingEvents, prometheus.GaugeValue, float64(count), stream)
	}
}
