package messages_test

import (
	"testing"

	"roomlink/internal/roomlinktest"
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
