package tracing_test

import (
	"context"
	"testing"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"roomlink/internal/tracing"
)

// BenchmarkOff is what one conversation costs without tracing: five spans and a trace context. It allocates nothing.
func BenchmarkOff(b *testing.B) {
	b.ReportAllocs()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for b.Loop() {
		for range 5 {
			within, span := tracing.Start(ctx, "look up links", trace.SpanKindClient)
			if tracing.Parent(within) != "" {
				b.Fatal("got a trace context, want none")
			}
			tracing.End(span, nil)
		}
	}
}

// TestOff: without an endpoint there is no tracer, and nothing is allocated.
func TestOff(t *testing.T) {
	none := func(string) (string, bool) { return "", false }
	tracer, err := tracing.New(t.Context(), none, "1", zerolog.Nop())
	if tracer != nil || err != nil {
		t.Fatalf("got a tracer and error %v, want none", err)
	}
	tracer.Close()
	ctx := t.Context()
	allocations := testing.AllocsPerRun(100, func() {
		within, span := tracing.Start(ctx, "look up links", trace.SpanKindClient)
		_ = tracing.Parent(within)
		tracing.End(span, nil)
	})
	if allocations != 0 {
		t.Errorf("got %v allocations for a span, want none", allocations)
	}
}
