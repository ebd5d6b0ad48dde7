package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
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
	log, _, err := telemetry.NewLogger(&out, "info", "json")
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
	log, _, err := telemetry.NewLogger(&out, "trace", "console")
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
		if _, _, err := telemetry.NewLogger(&bytes.Buffer{}, test.level, test.format); err == nil {
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
	r.Host = "127.0.0.1:9090"
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

// PUT /loglevel changes the level of the log, for whoever may see the profiles.
func TestLogLevel(t *testing.T) {
	const token = "an-invented-token-of-the-operator"
	var out bytes.Buffer
	log, level, err := telemetry.NewLogger(&out, "info", "json")
	if err != nil {
		t.Fatalf("making a logger: %v", err)
	}
	log = log.With().Str("component", "test").Logger() // made before the change
	o := telemetry.Operations{Gatherer: prometheus.NewRegistry(), Token: token, Level: level, Logger: log}
	for _, test := range []struct {
		name, method, body, token, host string
		open                            bool
		status                          int
		level                           string
	}{
		{name: "read", method: http.MethodGet, token: token, status: 200, level: "info"},
		{name: "no token", method: http.MethodPut, body: "debug", status: 401, level: "info"},
		{name: "no level", method: http.MethodPut, body: "loud", token: token, status: 400, level: "info"},
		{name: "empty", method: http.MethodPut, token: token, status: 400, level: "info"},
		{name: "changed", method: http.MethodPut, body: "debug\n", token: token, status: 200, level: "debug"},
		{name: "another site", method: http.MethodPut, body: "error", open: true, host: "evil.example:9090", status: 403, level: "debug"},
		{name: "errors only", method: http.MethodPut, body: "error", token: token, status: 200, level: "error"},
		{name: "on loopback", method: http.MethodPut, body: "warn", open: true, host: "localhost:9090", status: 200, level: "warn"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), test.method, "/loglevel", strings.NewReader(test.body))
		r.Header.Set("Authorization", "Bearer "+test.token)
		r.Host, o.Open = test.host, test.open
		w := httptest.NewRecorder()
		o.Handler().ServeHTTP(w, r)
		if w.Code != test.status || level.String() != test.level {
			t.Errorf("%s: got %d and level %s, want %d and %s", test.name, w.Code, level, test.status, test.level)
		}
		if test.name == "changed" {
			log.Debug().Msg("now seen")
		}
	}
	if got := strings.Count(out.String(), `"level":"warn","kind":"audit"`); got != 3 {
		t.Errorf("audit lines: got %d, want one for each of 3 changes:\n%s", got, &out)
	}
	log.Info().Msg("no longer seen")
	if got := out.String(); !strings.Contains(got, "now seen") || strings.Contains(got, "no longer seen") {
		t.Errorf("log: got %s, want the line at debug, and none at info after warn", got)
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
	registry.MustRegister(telemetry.NewQueue(telemetry.QueueConfig{
		Store: client, Accounts: func() []string { return []string{"acme"} }, Logger: zerolog.Nop(),
		Labels: &telemetry.AccountLabels{}, Connected: client.JetStream().Conn().IsConnected,
	}))
	_, text := get(t, telemetry.Operations{Gatherer: registry}, "/metrics")
	for _, want := range []string{
		`roomlink_queue_events{account="acme"} 3`, `roomlink_queue_unclaimed_events 2`,
		`roomlink_queue_oldest_age_seconds{account="acme"} `, `roomlink_stream_messages{stream="ROOMLINK_CONVERSATIONS"} 5`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics without %q:\n%s", want, text)
		}
	}
	wantLetters(t, client, registry)
	series := seriesOf(t, registry)
	// A stream that is missing takes nothing else away.
	if err := client.JetStream().DeleteStream(t.Context(), messages.LinksStream); err != nil {
		t.Fatalf("deleting a stream: %v", err)
	}
	_, text = get(t, telemetry.Operations{Gatherer: registry}, "/metrics")
	for _, want := range []string{
		`roomlink_reading_success{reading="ROOMLINK_LINKS"} 0`, `roomlink_reading_success{reading="queue"} 1`,
		`roomlink_reading_success{reading="dead_letters"} 1`, `roomlink_broker_connected 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics without a stream: got none %q:\n%s", want, text)
		}
	}
	b.Close()
	_, text = get(t, telemetry.Operations{Gatherer: registry}, "/metrics")
	for _, want := range []string{
		`roomlink_broker_connected 0`, `roomlink_reading_success{reading="queue"} 0`, `roomlink_queue_events{account="acme"} 3`,
		`roomlink_dead_letters{account="acme",reason="rejected"} 1`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics without a broker: got none %q:\n%s", want, text)
		}
	}
	if got := seriesOf(t, registry); !slices.Equal(got, series) {
		t.Errorf("series without a broker: got %q, want %q", got, series)
	}
}

// wantLetters stores dead letters, deletes one, and compares what the metrics say of them.
func wantLetters(t *testing.T, client *store.Store, registry prometheus.Gatherer) {
	t.Helper()
	count := func(account, reason string) float64 {
		return roomlinktest.SumMetric(t, registry, "roomlink_dead_letters", "account", account, "reason", reason)
	}
	for id, reason := range map[string]string{
		"a": messages.ReasonRejected, "b": messages.ReasonRejected, "c": messages.ReasonExpired, "d": "of a later version",
	} {
		account := "acme"
		if id == "c" {
			account = "gone"
		}
		at := messages.At(time.Now())
		letter := messages.DeadLetter{
			Conversation: messages.Conversation{Account: account, InteractionID: id}, Reason: reason, Attempts: 1,
			AcceptedAt: at, LastAttemptAt: at, Event: json.RawMessage(`{}`),
		}
		if err := client.PublishDeadLetter(t.Context(), messages.NewEvent(at, letter), id); err != nil {
			t.Fatalf("storing a dead letter: %v", err)
		}
	}
	if a, gone, later := count("acme", "rejected"), count("other", "expired"), count("acme", "other"); a != 2 || gone != 1 || later != 1 {
		t.Errorf("dead letters: got %v of acme, %v of an unknown account and %v of an unknown reason, want 2, 1 and 1", a, gone, later)
	}
	letter, err := client.DeadLetter(t.Context(), messages.Conversation{Account: "acme", InteractionID: "b"}, store.Leader)
	if err == nil {
		err = client.Discard(t.Context(), letter)
	}
	if err != nil {
		t.Fatalf("deleting a dead letter: %v", err)
	}
	if got := count("acme", "rejected"); got != 1 {
		t.Errorf("dead letters after one was deleted: got %v, want 1", got)
	}
}

// seriesOf returns the names and labels of all series.
func seriesOf(t *testing.T, registry prometheus.Gatherer) []string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatalf("gathering metrics: %v", err)
	}
	var series []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			series = append(series, family.GetName()+fmt.Sprint(metric.GetLabel()))
		}
	}
	slices.Sort(series)
	return series
}

func TestAccountLabels(t *testing.T) {
	var labels telemetry.AccountLabels
	for i := range telemetry.MaxAccounts + 2 {
		name, want := fmt.Sprintf("account-%d", i), telemetry.OtherAccounts
		if i < telemetry.MaxAccounts {
			want = name
		}
		if got := labels.Of(name); got != want {
			t.Errorf("label of %s: got %q, want %q", name, got, want)
		}
	}
	if got := labels.Of("account-0"); got != "account-0" {
		t.Errorf("label of a known account: got %q, want its name", got)
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
