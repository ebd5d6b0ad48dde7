package auvious_test

import (
	"testing"

	"roomlink/internal/simulator"
)

// BenchmarkCreateRoom measures a call over loopback, including the simulated auvious.
func BenchmarkCreateRoom(b *testing.B) {
	f := serve(b, simulator.Config{KeepRequests: -1})
	client := f.client(b)
	mustCreate(b, client, "call-1")
	b.ReportAllocs()
	for b.Loop() {
		mustCreate(b, client, "call-1")
	}
}

// BenchmarkCreateRoomParallel measures calls of many goroutines. They share the token and the connections.
func BenchmarkCreateRoomParallel(b *testing.B) {
	f := serve(b, simulator.Config{KeepRequests: -1})
	client := f.client(b)
	mustCreate(b, client, "call-1")
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.CreateRoom(b.Context(), roomRequest("call-1")); err != nil {
				b.Errorf("creating a room: %v", err)
			}
		}
	})
}
