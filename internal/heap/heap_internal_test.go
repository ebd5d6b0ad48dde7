package heap

import (
	"context"
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

func TestRunGivesBack(t *testing.T) {
	const before = 123
	original := debug.SetGCPercent(before)
	defer debug.SetGCPercent(original)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx); err != nil {
		t.Errorf("running: got error %v, want none", err)
	}
	if got := debug.SetGCPercent(before); got != before {
		t.Errorf("afterwards: got %d percent, want %d", got, before)
	}
}
