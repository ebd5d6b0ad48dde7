package store_test

import (
	"errors"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// BenchmarkReadsAtARate makes 2,000 reads a second and reports their CPU time. The reads of
// dead letters wait for each other, the reads of links do not. "none" is the benchmark's
// own time.
func BenchmarkReadsAtARate(b *testing.B) {
	const perTick = 2 // each millisecond
	for name, read := range map[string]func(*store.Store, messages.Conversation) error{
		"none": func(*store.Store, messages.Conversation) error { return messages.ErrNotFound },
		"links": func(s *store.Store, conversation messages.Conversation) error {
			_, err := s.Links(b.Context(), conversation, store.Leader)
			return err
		},
		"dead letters": func(s *store.Store, conversation messages.Conversation) error {
			_, err := s.DeadLetter(b.Context(), conversation, store.Leader)
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			s := newStore(b, store.WithSingleServer())
			ticker := time.NewTicker(time.Millisecond)
			defer ticker.Stop()
			before := cpuTime(b)
			var group sync.WaitGroup
			for i := 0; b.Loop(); i++ {
				if i%perTick == 0 {
					<-ticker.C
				}
				group.Go(func() {
					err := read(s, roomlinktest.Conversation(strconv.Itoa(i)))
					if !errors.Is(err, messages.ErrNotFound) {
						b.Errorf("reading: got error %v, want %v", err, messages.ErrNotFound)
					}
				})
			}
			group.Wait()
			s.Close()
			b.ReportMetric(float64(cpuTime(b)-before)/1e3/float64(b.N), "cpu-µs/op")
		})
	}
}

// cpuTime returns the CPU time of this process.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatalf("reading the CPU time: %v", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
