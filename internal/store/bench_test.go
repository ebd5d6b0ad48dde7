package store_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// BenchmarkPublish publishes one event after the other to a broker that does not sync
// every write.
func BenchmarkPublish(b *testing.B) {
	s := newStore(b)
	ctx := b.Context()
	for i := 0; b.Loop(); i++ {
		outcome, err := s.Publish(ctx, roomlinktest.Started(strconv.Itoa(i)))
		if err != nil || outcome != store.Accepted {
			b.Fatalf("publishing: got %v and error %v, want %v", outcome, err, store.Accepted)
		}
	}
}

func BenchmarkState(b *testing.B) {
	s := newStore(b)
	roomlinktest.PublishLinks(b, s, roomlinktest.Links("a", 1), 0)
	ctx, now := b.Context(), time.Now()
	for b.Loop() {
		if _, err := s.State(ctx, roomlinktest.Conversation("a"), now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookUp reads the links of a conversation without links from many goroutines,
// as a worker does for each event: from the leader, by direct get, and in groups.
func BenchmarkLookUp(b *testing.B) {
	for _, test := range []struct {
		name    string
		from    store.Consistency
		options []store.Option
	}{
		{"leader", store.Leader, nil},
		{"direct", store.Any, nil},
		{"grouped", store.Leader, []store.Option{store.WithSingleServer()}},
	} {
		b.Run(test.name, func(b *testing.B) {
			s := newStore(b, test.options...)
			b.ReportAllocs()
			b.SetParallelism(64)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_, err := s.Links(b.Context(), roomlinktest.Conversation("a"), test.from)
					if !errors.Is(err, messages.ErrNotFound) {
						b.Errorf("links: got error %v, want %v", err, messages.ErrNotFound)
					}
				}
			})
			s.Close()
		})
	}
}
