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

func BenchmarkEncode(b *testing.B) {
	e := roomlinktest.Links("7f0c2f0e-66a1-4c59-9a25-0d8f1f3f2b11", 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data := roomlinktest.Encode(b, roomlinktest.Links("7f0c2f0e-66a1-4c59-9a25-0d8f1f3f2b11", 1))
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := messages.Decode[messages.Links](data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPublish publishes one event after the other, to a store that is not
// synced on every write.
func BenchmarkPublish(b *testing.B) {
	client := newClient(b)
	ctx := b.Context()
	for i := 0; b.Loop(); i++ {
		outcome, err := client.Publish(ctx, roomlinktest.Started(strconv.Itoa(i)))
		if err != nil || outcome != store.Accepted {
			b.Fatalf("publishing: got %v and error %v, want %v", outcome, err, store.Accepted)
		}
	}
}

func BenchmarkState(b *testing.B) {
	client := newClient(b)
	roomlinktest.PublishLinks(b, client, roomlinktest.Links("a", 1), 0)
	ctx, now := b.Context(), time.Now()
	for b.Loop() {
		if _, err := client.State(ctx, roomlinktest.Conversation("a"), now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookUp asks for the links of conversations that have none, as a worker
// does for each event, from many goroutines at once.
func BenchmarkLookUp(b *testing.B) {
	for name, options := range map[string][]store.Option{"leader": nil, "together": {store.WithSingleServer()}} {
		b.Run(name, func(b *testing.B) {
			client := store.New(roomlinktest.Connect(b, roomlinktest.StartBroker(b, account)), options...)
			roomlinktest.PublishLinks(b, client, roomlinktest.Links("a", 1), 0)
			b.ReportAllocs()
			b.SetParallelism(64)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := client.Links(b.Context(), roomlinktest.Conversation("b"), store.Leader); !errors.Is(err, messages.ErrNotFound) {
						b.Errorf("links: got error %v, want %v", err, messages.ErrNotFound)
					}
				}
			})
			client.Close()
		})
	}
}
