package roomlinktest

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// SumMetric returns the sum of a metric over the series with the given labels. The labels
// are pairs of name and value. For a histogram it sums the counts.
func SumMetric(tb testing.TB, from prometheus.Gatherer, name string, labels ...string) float64 {
	tb.Helper()
	families, err := from.Gather()
	if err != nil {
		tb.Fatalf("gathering metrics: %v", err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, series := range family.GetMetric() {
			have := map[string]string{}
			for _, pair := range series.GetLabel() {
				have[pair.GetName()] = pair.GetValue()
			}
			if hasLabels(have, labels) {
				sum += series.GetCounter().GetValue() + series.GetGauge().GetValue() +
					float64(series.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// hasLabels reports whether a series has all labels, which are pairs of name and value.
func hasLabels(have map[string]string, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		if have[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}
