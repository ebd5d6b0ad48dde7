package roomlinktest

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// SumMetric returns the sum of a metric over the series that have these labels, given as
// name and value in turn. A histogram's is its count.
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
			of := map[string]string{}
			for _, pair := range series.GetLabel() {
				of[pair.GetName()] = pair.GetValue()
			}
			if has(of, labels) {
				sum += series.GetCounter().GetValue() + series.GetGauge().GetValue() +
					float64(series.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// has reports whether a series has labels, given as name and value in turn.
func has(of map[string]string, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		if of[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}
