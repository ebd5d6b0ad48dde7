package worker

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"roomlink/worker/auvious"
)

// attempt is the traced work on an earlier delivery of an event. It is zero without tracing.
type attempt struct {
	span  trace.SpanContext
	ended time.Time
}

// trace begins the span of a delivery, in the trace of its event, and records the wait before it. The spans of several
// deliveries are linked. Without tracing it returns the context as it is.
func (a *account) trace(ctx context.Context, j *job) (context.Context, trace.Span) {
	if a.tracer == nil {
		return ctx, trace.SpanFromContext(ctx)
	}
	waitedFrom := j.meta.Timestamp
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(j.began), trace.WithAttributes(
			attribute.String("roomlink.account", a.Name),
			attribute.String("roomlink.interaction_id", j.event.Data.InteractionID),
			attribute.String("roomlink.event_id", j.event.ID),
			attribute.Int("roomlink.generation", j.event.Data.Generation()),
			attribute.Int64("roomlink.attempt", int64(j.meta.NumDelivered)),
		),
	}
	if j.before.span.IsValid() {
		waitedFrom = j.before.ended
		options = append(options, trace.WithLinks(trace.Link{SpanContext: j.before.span}))
	}
	if waitedFrom.After(j.began) { // the clocks of two machines
		waitedFrom = j.began
	}
	_, waited := a.tracer.Continue(ctx, j.event.TraceParent, "wait in the queue", trace.WithTimestamp(waitedFrom))
	waited.End(trace.WithTimestamp(j.began))
	return a.tracer.Continue(ctx, j.event.TraceParent, "work on event", options...)
}

// endTrace ends the span of a delivery. Call it before the delivery is settled: the next one is linked to it.
func (a *account) endTrace(span trace.Span, j *job, err error) {
	if a.tracer == nil {
		return
	}
	j.before = attempt{span.SpanContext(), time.Now()}
	if err != nil && span.IsRecording() {
		span.SetStatus(codes.Error, auvious.Mask(err.Error())) // as the log says it
	}
	span.End()
}
