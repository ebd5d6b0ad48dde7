package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/internal/telemetry"
	"roomlink/messages"
)

func TestNewLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "info", "json")
	if err != nil {
		t.Fatalf("making a logger: %v", err)
	}
	log.Debug().Msg("too low")
	log.Info().Str("key", "value").Msg("logged")
	var line map[string]string
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("reading the log %q: %v", out.String(), err)
	}
	if line["message"] != "logged" || line["key"] != "value" || line["level"] != "info" || line["time"] == "" {
		t.Errorf("line: got %v, want the message with its level, time and fields", line)
	}
}

func TestNewLoggerConsole(t *testing.T) {
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "trace", "console")
	if err != nil {
		t.Fatalf("making a logger: %v", err)
	}
	log.Trace().Msg("logged")
	if got := out.String(); !strings.Contains(got, "logged") || strings.ContainsRune(got, '\x1b') {
		t.Errorf("line: got %q, want the message without colours", got)
	}
}

func TestNewLoggerRefuses(t *testing.T) {
	for _, test := range []struct{ level, format string }{
		{"loud", "json"}, {"fatal", "json"}, {"disabled", "json"}, {"info", "xml"},
	} {
		if _, err := telemetry.NewLogger(&bytes.Buffer{}, test.level, test.format); err == nil {
			t.Errorf("level %q in format %q: got no error, want one", test.level, test.format)
		}
	}
}

// get requests a path of the operations.
func get(t *testing.T, o telemetry.Operations, path string, header ...string) (int, string) {
	t.Helper()
	if o.Gatherer == nil {
		o.Gatherer = prometheus.NewRegistry()
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	o.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func check(name string, err error) telemetry.Check {
	return telemetry.Check{Name: name, Run: func(context.Context) error { return err }}
}

func TestHealth(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, test := range []struct {
		name        string
		live, ready error
		livez       int
		readyz      int
		text        string
	}{
		{"healthy", nil, nil, 200, 200, "[+] broker\n[+] consumers\n"},
		{"not ready", nil, broken, 200, 503, "[+] broker\n[-] consumers: the disk is gone\n"},
		{"not alive", broken, nil, 503, 503, "[-] broker: the disk is gone\n[+] consumers\n"},
	} {
		o := telemetry.Operations{
			Live: []telemetry.Check{check("broker", test.live)}, Ready: []telemetry.Check{check("consumers", test.ready)},
		}
		if got, _ := get(t, o, "/livez"); got != test.livez {
			t.Errorf("%s: /livez: got %d, want %d", test.name, got, test.livez)
		}
		if got, text := get(t, o, "/readyz"); got != test.readyz || text != test.text {
			t.Errorf("%s: /readyz: got %d %q, want %d %q", test.name, got, text, test.readyz, test.text)
		}
	}
}

// Off loopback, the profiles require the operator's token. Health and metrics never do.
func TestProfiles(t *testing.T) {
	const token = "an-invented-token-of-the-operator"
	for _, test := range []struct {
		name   string
		o      telemetry.Operations
		header []string
		want   int
	}{
		{"on loopback", telemetry.Operations{Open: true}, nil, 200},
		{"no token configured", telemetry.Operations{}, nil, 401},
		{"with an empty token", telemetry.Operations{}, []string{"Authorization", "Bearer "}, 401},
		{"without the token", telemetry.Operations{Token: token}, nil, 401},
		{"with a wrong token", telemetry.Operations{Token: token}, []string{"Authorization", "Bearer wrong"}, 401},
		{"with the token", telemetry.Operations{Token: token}, []string{"Authorization", "Bearer " + token}, 200},
	} {
		got, text := get(t, test.o, "/debug/pprof/", test.header...)
		if got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
		if strings.Contains(text, token) {
			t.Errorf("%s: got an answer with the token, want one without", test.name)
		}
		for _, open := range []string{"/livez", "/readyz", "/metrics"} {
			if got, _ := get(t, test.o, open); got != http.StatusOK {
				t.Errorf("%s: %s: got %d, want 200", test.name, open, got)
			}
		}
	}
}

func TestQueue(t *testing.T) {
	b := roomlinktest.StartBroker(t)
	client := roomlinktest.Store(t, b)
	for account, count := range map[string]int{"acme": 3, "gone": 2} {
		if _, err := store.ProvisionConsumer(t.Context(), client.JetStream(), "acme"); err != nil {
			t.Fatalf("provisioning the consumer: %v", err)
		}
		for i := range count {
			at := messages.At(time.Now())
			_, err := client.Publish(t.Context(), messages.NewEvent(at, messages.Started{
				Request: messages.Request{
					Conversation: messages.Conversation{Account: account, InteractionID: string(rune('a' + i))}, CustomerID: "c",
				},
				Channel: messages.ChannelVoice, Source: messages.SourceAutomation, ReceivedAt: at,
			}))
			if err != nil {
				t.Fatalf("publishing: %v", err)
			}
		}
	}
	// The broker counts a consumer's events a moment after it has stored them.
	for ctx, depth := roomlinktest.Context(t), uint64(0); depth != 3; {
		var err error
		if depth, _, err = client.Depth(ctx, "acme", time.Now()); err != nil {
			t.Fatalf("waiting for 3 events, have %d: %v", depth, err)
		}
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&telemetry.Queue{
		Store: client, Accounts: func() []string { return []string{"acme"} }, Logger: zerolog.Nop(),
	})
	_, text := get(t, telemetry.Operations{Gatherer: registry}, "/metrics")
	for _, want := range []string{
		`roomlink_queue_events{account="acme"} 3`, `roomlink_queue_unclaimed_events 2`,
		`roomlink_queue_oldest_age_seconds{account="acme"} `, `roomlink_stream_messages{stream="ROOMLINK_CONVERSATIONS"} 5`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics without %q:\n%s", want, text)
		}
	}
	b.Close()
	if status, text := get(t, telemetry.Operations{Gatherer: registry}, "/metrics"); status != http.StatusOK || strings.Contains(text, "roomlink_queue_events{") {
		t.Errorf("without a broker: got %d and\n%s\nwant 200 without the queue", status, text)
	}
}

func TestRegistry(t *testing.T) {
	_, text := get(t, telemetry.Operations{Gatherer: telemetry.NewRegistry()}, "/metrics")
	for _, want := range []string{"roomlink_build_info{", "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics without %q", want)
		}
	}
}
