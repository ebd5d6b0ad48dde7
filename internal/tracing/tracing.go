// Package tracing records where the time of a conversation goes, as OpenTelemetry spans, and sends them by OTLP over
// HTTP. The standard OTEL_* variables configure it. Without an endpoint in them it is off, and then a span costs
// a look into the context and no memory.
//
// One trace follows a conversation: the call of Talkdesk, the publish of its event, and in the worker the wait in the
// queue, the look-up of links, the token, the call of auvious and the store of the links. The event carries the trace
// context through the queue.
//
// A span has ids, codes, numbers and route patterns. It has no URL, no header and no body, because these contain secrets.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"roomlink/internal/repeats"
	"roomlink/messages"
)

// scope is the instrumentation scope of all spans.
const scope = "roomlink"

// flushTimeout bounds how long a stop waits for the last spans to be sent.
const flushTimeout = 3 * time.Second

// Tracer begins traces and continues those of others. A nil Tracer does nothing.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdk.TracerProvider
	log      zerolog.Logger
	// repeats bounds the log lines about spans that are not sent.
	repeats repeats.Lines
}

// New returns the tracer that the OTEL_* variables describe; nil if they name no endpoint or turn tracing off. lookup
// returns a variable, and version is that of the program. New returns an error for a variable that cannot be obeyed.
func New(
	ctx context.Context, lookup func(name string) (string, bool), version string, log zerolog.Logger,
) (*Tracer, error) {
	if on, err := isOn(lookup); err != nil || !on {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "roomlink"), attribute.String("service.version", version)),
		resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &Tracer{
		provider: sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(described)),
		log:      log.With().Str("component", "tracing").Logger(),
	}
	t.tracer = t.provider.Tracer(scope, trace.WithInstrumentationVersion(version))
	// The SDK has one handler for a process, and by default it writes to the standard error.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(t.report))
	return t, nil
}

// isOn reports whether the variables ask for traces. The SDK for Go leaves these variables to the program.
func isOn(lookup func(string) (string, bool)) (bool, error) {
	get := func(names ...string) (name, value string) {
		for _, name := range names {
			if value, _ := lookup(name); value != "" {
				return name, value
			}
		}
		return "", ""
	}
	_, disabled := get("OTEL_SDK_DISABLED")
	exporterName, exporter := get("OTEL_TRACES_EXPORTER")
	name, endpoint := get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
	protocolName, protocol := get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	if strings.EqualFold(disabled, "true") || exporter == "none" || endpoint == "" {
		return false, nil
	}
	parsed, err := url.Parse(endpoint)
	switch {
	case err != nil, parsed.Hostname() == "", parsed.Scheme != "http" && parsed.Scheme != "https":
		return false, fmt.Errorf("%s is not an absolute http or https URL", name) // not quoted: it may have a password
	case exporter != "" && exporter != "otlp":
		return false, fmt.Errorf("%s is %q: roomlink knows otlp and none", exporterName, exporter)
	case protocol != "" && protocol != "http/protobuf":
		return false, fmt.Errorf("%s is %q: roomlink sends http/protobuf", protocolName, protocol)
	}
	return true, nil
}

// report logs that spans are not sent, once a minute at most.
func (t *Tracer) report(err error) {
	t.repeats.Line(&t.log, zerolog.WarnLevel, "sending").Err(err).Msg("traces not sent: check OTEL_EXPORTER_OTLP_ENDPOINT")
}

// Close sends the last spans, for 3 s at most.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn().Err(err).Msg("last traces not sent")
	}
}

// Continue begins a span whose parent came with a message or a call, and returns its context. parent is a W3C
// traceparent; without a valid one the span begins a trace.
func (t *Tracer) Continue(
	ctx context.Context, parent, name string, options ...trace.SpanStartOption,
) (context.Context, trace.Span) {
	carrier := propagation.MapCarrier{messages.TraceParentHeader: parent}
	return t.tracer.Start(propagation.TraceContext{}.Extract(ctx, carrier), name, options...)
}

// Start begins a span within the span of a context, and returns its context. Without a recorded span in the context it
// returns the context as it is, and a span that does nothing.
func Start(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, parent
	}
	return parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind))
}

// End ends a span of [Start]. An error marks the span as failed; its text stays out of it.
func End(span trace.Span, err error) {
	if !span.IsRecording() { // it may be the parent
		return
	}
	if err != nil && !errors.Is(err, messages.ErrNotFound) {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// Parent returns the W3C traceparent of the span of a context; "" if there is none.
func Parent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[messages.TraceParentHeader]
}

// Calls is a middleware of chi that records each POST request. Its span continues the caller's trace, and has the
// pattern of the route as its name: an address of a page is a key. Other requests only show what is there.
func (t *Tracer) Calls(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		ctx, span := t.Continue(r.Context(), r.Header.Get("Traceparent"), r.Method, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		recorder := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(recorder, r.WithContext(ctx))
		if !span.IsRecording() {
			return
		}
		route, status := chi.RouteContext(ctx).RoutePattern(), recorder.Status()
		span.SetName(r.Method + " " + route)
		span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.String("http.route", route),
			attribute.Int("http.response.status_code", status))
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
	})
}
