package worker_test

import (
	"fmt"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// BenchmarkWorker measures the work on one event without the call of auvious: pull, look up, publish, acknowledge.
func BenchmarkWorker(b *testing.B) {
	h := newHarness(b)
	acks := h.acks()
	began := time.Now()
	events := make([]messages.Event[messages.Started], b.N)
	for i := range events {
		events[i] = roomlinktest.Started(fmt.Sprintf("call-%d-%d", i, began.UnixNano()))
		h.publish(events[i])
	}
	b.ReportAllocs()
	b.ResetTimer()
	r := h.startWith(makes())
	for range events {
		if got := roomlinktest.Receive(b, acks, "an acknowledgement"); got.kind != "+ACK" {
			b.Errorf("acknowledgement: got %v, want +ACK", got)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	r.mustStop()
}
