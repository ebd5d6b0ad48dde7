package heap

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	var p pace
	for look, want := range []struct {
		busy    bool
		percent int
	}{
		{false, calmPercent}, {true, busyPercent}, {false, busyPercent}, {true, busyPercent}, {false, busyPercent},
	} {
		if got := p.percent(want.busy); got != want.percent {
			t.Errorf("look %d, busy %v: got %d percent, want %d", look, want.busy, got, want.percent)
		}
	}
	var got []int
	for range calmAfter {
		got = append(got, p.percent(false))
	}
	if calm := slices.Index(got, calmPercent); calm != calmAfter-2 {
		t.Errorf("percents of looks that found it calm: got %v, want %d from number %d on", got, calmPercent, calmAfter-2)
	}
}

func TestWaits(t *testing.T) {
	var w waits
	counts := make([]uint64, 3)
	for _, look := range []struct {
		more []uint64 // under a ms, a ms, ten
		want bool
	}{
		{[]uint64{1000, 0, 0}, false},
		{[]uint64{1000, 40, 10}, false},
		{[]uint64{1000, 40, 20}, true},
		{[]uint64{0, 0, 0}, false},
		{[]uint64{0, 1, 0}, true},
	} {
		for i, more := range look.more {
			counts[i] += more
		}
		got := w.count(&metrics.Float64Histogram{Counts: counts, Buckets: []float64{0, 0.001, 0.01, 1}})
		if got != look.want {
			t.Errorf("after %v more: got many long ones %v, want %v", look.more, got, look.want)
		}
	}
}

// TestBusyProcessors has more goroutines compute than there are processors.
func TestBusyProcessors(t *testing.T) {
	var w waits
	w.long()
	var stop atomic.Bool
	var computing sync.WaitGroup
	defer computing.Wait()
	defer stop.Store(true)
	for range 32 * runtime.GOMAXPROCS(0) {
		computing.Go(func() {
			for n := 0; !stop.Load(); n++ { // until the runtime takes the processor away
				_ = n
			}
		})
	}
	for deadline := time.Now().Add(time.Minute); !w.long(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("processors: got none busy, want all")
		}
	}
}

func TestRunDecides(t *testing.T) {
	for _, test := range []struct {
		percent int
		limit   int64
		want    int
	}{
		{100, math.MaxInt64, calmPercent},
		{123, math.MaxInt64, 123},
		{100, 1 << 40, 100},
	} {
		percent, limit := debug.SetGCPercent(test.percent), debug.SetMemoryLimit(test.limit)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Run(ctx) }()
		for deadline := time.Now().Add(time.Minute); gcPercent() != test.want; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("with %d percent and a limit of %d: got %d, want %d", test.percent, test.limit, gcPercent(), test.want)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("running: got error %v, want none", err)
		}
		if got := debug.SetGCPercent(percent); got != test.percent {
			t.Errorf("afterwards: got %d percent, want %d", got, test.percent)
		}
		debug.SetMemoryLimit(limit)
	}
}

// gcPercent is what is set.
func gcPercent() int {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}
