// Package heap decides how far the heap of this process grows between two garbage
// collections. As long as there is processor time to spare it is kept small, at the
// price of more collections. Once goroutines wait for a processor it may grow to
// thrice of what is in use: collections are a tenth of the work on a small machine.
package heap

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much the heap grows between two collections, in percent of what is in use.
const (
	calmPercent = 60
	busyPercent = 200
)

const (
	// lookEvery is how often the waits for a processor are looked at.
	lookEvery = 250 * time.Millisecond
	// long is a wait for a processor that hardly any is with time to spare. If more
	// than one in longPart is, the processors are busy.
	long     = time.Millisecond
	longPart = 20
	// calmAfter is after how many looks that did not find them busy they are calm: ten
	// seconds.
	calmAfter = 40
)

// Run decides until the context ends, and then gives back what was decided before. It
// decides nothing where GOGC or GOMEMLIMIT has (Go, package runtime). It returns nil.
func Run(ctx context.Context) error {
	if decided() {
		<-ctx.Done()
		return nil
	}
	percent := calmPercent
	before := debug.SetGCPercent(percent)
	defer debug.SetGCPercent(before)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var seen waits
	var when pace
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if next := when.percent(seen.long()); next != percent {
			percent = next
			debug.SetGCPercent(percent)
		}
	}
}

// decided reports whether something has set what Go begins with otherwise.
func decided() bool {
	const goPercent = 100
	percent := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(percent)
	set := percent[0].Value.Kind() == metrics.KindUint64 && percent[0].Value.Uint64() != goPercent
	return set || debug.SetMemoryLimit(-1) != math.MaxInt64 // -1 only asks
}

// pace is how many looks in a row are to find the processors busy still, if they were.
type pace int

// percent says how much the heap may grow after a look that found the processors busy
// or not.
func (p *pace) percent(busy bool) int {
	switch {
	case busy:
		*p = calmAfter
	case *p > 0:
		*p--
	}
	if *p > 0 {
		return busyPercent
	}
	return calmPercent
}

// waits counts those of goroutines for a processor, and those of them that were long,
// up to the last look.
type waits struct{ all, over uint64 }

// long reports whether many waits since the last look were long.
func (w *waits) long() bool {
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return false // a Go that counts them no more
	}
	return w.count(sample[0].Value.Float64Histogram())
}

func (w *waits) count(histogram *metrics.Float64Histogram) bool {
	before := *w
	*w = waits{}
	for i, count := range histogram.Counts {
		w.all += count
		if histogram.Buckets[i] >= long.Seconds() {
			w.over += count
		}
	}
	return (w.over-before.over)*longPart > w.all-before.all
}
