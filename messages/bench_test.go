package messages_test

import (
	"strconv"
	"testing"
	"time"

	"roomlink/messages"
)

func BenchmarkEncode(b *testing.B) {
	e := linksOf("7f0c2f0e-66a1-4c59-9a25-0d8f1f3f2b11", 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data := encode(b, linksOf("7f0c2f0e-66a1-4c59-9a25-0d8f1f3f2b11", 1))
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
		outcome, err := client.Publish(ctx, startedOf(strconv.Itoa(i)))
		if err != nil || outcome != messages.Accepted {
			b.Fatalf("publishing: got %v and error %v, want %v", outcome, err, messages.Accepted)
		}
	}
}

func BenchmarkState(b *testing.B) {
	client := newClient(b)
	mustPublishLinks(b, client, linksOf("a", 1), 0)
	ctx, now := b.Context(), time.Now()
	for b.Loop() {
		if _, err := client.State(ctx, conversation("a"), now); err != nil {
			b.Fatal(err)
		}
	}
}
