package main

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"roomlink/internal/programtest"
	"roomlink/internal/simulator"
)

// span is a received span, with the service that sent it.
type span struct {
	*otlp.Span

	service string
}

func (s span) id() string     { return hex.EncodeToString(s.SpanId) }
func (s span) parent() string { return hex.EncodeToString(s.ParentSpanId) }
func (s span) trace() string  { return hex.EncodeToString(s.TraceId) }

func (s span) attribute(key string) string {
	for _, attribute := range s.Attributes {
		if attribute.GetKey() == key {
			return strings.Trim(attribute.GetValue().String(), `"`)
		}
	}
	return ""
}

// otlpReceiver is a receiver of OTLP over HTTP.
type otlpReceiver struct {
	URL string

	mu       sync.Mutex
	spans    []span
	received strings.Builder
}

func startReceiver(t *testing.T) *otlpReceiver {
	t.Helper()
	r := &otlpReceiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var body io.Reader = request.Body
		if request.Header.Get("Content-Encoding") == "gzip" {
			unzipped, err := gzip.NewReader(body)
			if err != nil {
				t.Errorf("unpacking traces: %v", err)
				return
			}
			body = unzipped
		}
		data, err := io.ReadAll(body)
		var traces collector.ExportTraceServiceRequest
		if err != nil || request.URL.Path != "/v1/traces" || proto.Unmarshal(data, &traces) != nil {
			t.Errorf("got %s with error %v, want traces", request.URL.Path, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
		r.mu.Lock()
		defer r.mu.Unlock()
		r.received.Write(data)
		for _, resource := range traces.GetResourceSpans() {
			service := ""
			for _, attribute := range resource.GetResource().GetAttributes() {
				if attribute.GetKey() == "service.name" {
					service = attribute.GetValue().GetStringValue()
				}
			}
			for _, scope := range resource.GetScopeSpans() {
				for _, received := range scope.GetSpans() {
					r.spans = append(r.spans, span{received, service})
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	r.URL = server.URL
	return r
}

// named returns the spans with a name, in the order of their starts.
func (r *otlpReceiver) named(t *testing.T, name string, count int) []span {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	found := slices.DeleteFunc(slices.Clone(r.spans), func(s span) bool { return s.Name != name })
	slices.SortFunc(found, func(a, b span) int { return int(a.StartTimeUnixNano) - int(b.StartTimeUnixNano) })
	if len(found) != count {
		t.Fatalf("spans %q: got %d, want %d of %v", name, len(found), count, r.spans)
	}
	return found
}

// tracedEnv adds the variables of OpenTelemetry. Only the flush at the stop sends spans.
func tracedEnv(env map[string]string, endpoint, service string) map[string]string {
	env = maps.Clone(env)
	env["OTEL_EXPORTER_OTLP_ENDPOINT"], env["OTEL_SERVICE_NAME"] = endpoint, service
	env["OTEL_BSP_SCHEDULE_DELAY"] = "3600000"
	return env
}

// TestTrace follows a conversation from the call of Talkdesk to its links, across three processes. The first call of
// auvious fails.
func TestTrace(t *testing.T) {
	t.Parallel()
	receiver := startReceiver(t)
	a := programtest.StartAuvious(t, simulator.Config{})
	a.Script(func(call simulator.Call) *simulator.Answer {
		if call.Number == 1 {
			return &simulator.Answer{Status: http.StatusServiceUnavailable}
		}
		return nil
	})
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_NATS_URL"], env["ROOMLINK_REPLICAS"] = startNATS(t), "1"
	worker := start(t, tracedEnv(env, receiver.URL, "the-worker"), "worker")
	worker.Line(map[string]string{"message": "started"})
	hook := start(t, tracedEnv(env, receiver.URL, "the-webhook"), "webhook")
	pages := start(t, tracedEnv(env, receiver.URL, "the-viewer"), "viewer")

	const trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, hook.Address("public")+"/talkdesk/events?key=in-the-query",
		strings.NewReader(programtest.StartEvent("call-1")))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{
		"Content-Type": {"application/json"}, "X-Api-Key": {programtest.APIKey}, "Traceparent": {"00-" + trace + "-" + caller + "-01"},
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	base := pages.Address("public")
	links := programtest.Ready(t, base, "call-1")
	_, token, _ := strings.Cut(links["customerUrl"], "/open/")
	programtest.Ask(t, http.MethodPost, base+"/open/"+token, "")
	for _, p := range []*programtest.Program{hook, worker, pages} {
		if code := p.Stop(); code != 0 {
			t.Errorf("exit code: got %d, want 0", code)
		}
	}

	server := receiver.named(t, "POST /talkdesk/events", 1)[0]
	publish := receiver.named(t, "publish event", 1)[0]
	waits, works := receiver.named(t, "wait in the queue", 2), receiver.named(t, "work on event", 2)
	looks, tokens := receiver.named(t, "look up links", 2), receiver.named(t, "get access token", 2)
	calls, store := receiver.named(t, "call auvious", 2), receiver.named(t, "store links", 1)[0]
	for _, edge := range []struct {
		child          span
		parent, served string
	}{
		{server, caller, "the-webhook"},
		{publish, server.id(), "the-webhook"},
		{waits[0], publish.id(), "the-worker"},
		{works[0], publish.id(), "the-worker"},
		{waits[1], publish.id(), "the-worker"},
		{works[1], publish.id(), "the-worker"},
		{looks[0], works[0].id(), "the-worker"},
		{looks[1], works[1].id(), "the-worker"},
		{tokens[0], works[0].id(), "the-worker"},
		{tokens[1], works[1].id(), "the-worker"},
		{calls[0], works[0].id(), "the-worker"},
		{calls[1], works[1].id(), "the-worker"},
		{store, works[1].id(), "the-worker"},
	} {
		if edge.child.trace() != trace || edge.child.parent() != edge.parent || edge.child.service != edge.served {
			t.Errorf("%q: got trace %s, parent %s, service %s; want %s, %s, %s", edge.child.Name,
				edge.child.trace(), edge.child.parent(), edge.child.service, trace, edge.parent, edge.served)
		}
	}
	if retried := works[1].Links; len(retried) != 1 || hex.EncodeToString(retried[0].GetSpanId()) != works[0].id() || len(works[0].Links) != 0 {
		t.Errorf("links of the second attempt: got %v, want one to the first", retried)
	}
	if got := calls[0].attribute("error.type"); !strings.Contains(got, "unavailable") || calls[0].Status.GetCode() != otlp.Status_STATUS_CODE_ERROR {
		t.Errorf("the failed call: got error.type %q and status %v, want unavailable and an error", got, calls[0].Status)
	}
	if got := works[1].attribute("roomlink.interaction_id"); !strings.Contains(got, "call-1") {
		t.Errorf("roomlink.interaction_id: got %q, want call-1", got)
	}
	receiver.named(t, "POST /open/{token}", 1)
	for what, secret := range map[string]string{
		"the ticket": links["ticketUrl"], "the agent's URL": links["agentUrl"], "a page token": token, "the query": "in-the-query",
		"auvious' secret": programtest.AuviousSecret, "the API key": programtest.APIKey, "the link key": programtest.LinkKey,
	} {
		if secret == "" || strings.Contains(receiver.received.String(), secret) {
			t.Errorf("the spans contain %s, or it is empty", what)
		}
	}
}

// TestTraceSettings turns tracing off and misconfigures it.
func TestTraceSettings(t *testing.T) {
	t.Parallel()
	receiver := startReceiver(t)
	a := programtest.StartAuvious(t, simulator.Config{})
	for name, set := range map[string]map[string]string{
		"disabled":   {"OTEL_SDK_DISABLED": "true"},
		"exporter":   {"OTEL_TRACES_EXPORTER": "none"},
		"sampler":    {"OTEL_TRACES_SAMPLER": "always_off"},
		"no address": {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := tracedEnv(programtest.ServeEnv(t, a.URL), receiver.URL, "off")
			maps.Copy(env, set)
			p := start(t, env, "serve")
			programtest.Post(t, p.Address("public"), "call-"+strings.ReplaceAll(name, " ", "-"))
			programtest.Ready(t, p.Address("public"), "call-"+strings.ReplaceAll(name, " ", "-"))
			p.Stop()
			receiver.mu.Lock()
			defer receiver.mu.Unlock()
			if len(receiver.spans) != 0 {
				t.Errorf("got %d spans, want none", len(receiver.spans))
			}
		})
	}
	for name, set := range map[string]map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
		"OTEL_EXPORTER_OTLP_PROTOCOL": {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
		"OTEL_TRACES_EXPORTER":        {"OTEL_TRACES_EXPORTER": "zipkin"},
	} {
		env := tracedEnv(programtest.ServeEnv(t, a.URL), receiver.URL, "off")
		maps.Copy(env, set)
		if code, _, text := command(t, env, "serve"); code != 2 || !strings.Contains(text, name) {
			t.Errorf("%v: got exit code %d and %q, want 2 and the name", set, code, text)
		}
	}
}

// TestTraceReceiverHangs stops a program whose receiver does not answer: conversations go on, and the stop ends.
func TestTraceReceiverHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		close(release)
		hanging.Close()
	})
	a := programtest.StartAuvious(t, simulator.Config{})
	env := tracedEnv(programtest.ServeEnv(t, a.URL), hanging.URL, "hangs")
	env["OTEL_BSP_SCHEDULE_DELAY"] = "1"
	p := start(t, env, "serve")
	for _, id := range []string{"call-1", "call-2"} {
		programtest.Post(t, p.Address("public"), id)
		programtest.Ready(t, p.Address("public"), id)
	}
	if code := p.Stop(); code != 0 || !strings.Contains(p.Log(), "last traces not sent") {
		t.Errorf("got exit code %d, want 0 and a line about the last traces", code)
	}
}
