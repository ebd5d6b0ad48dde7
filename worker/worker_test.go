package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	good := configured(account, makes())
	for _, test := range []struct {
		name     string
		accounts []worker.Account
		good     bool
	}{
		{"one", []worker.Account{good}, true},
		{"none", nil, true},
		{"two", []worker.Account{good, configured("other", makes())}, true},
		{"the same twice", []worker.Account{good, good}, false},
		{"no facade", []worker.Account{configured(account, nil)}, false},
		{"no name", []worker.Account{configured("", makes())}, false},
		{"a name with a dot", []worker.Account{configured("a.b", makes())}, false},
		{"a name in capitals", []worker.Account{configured("Acme", makes())}, false},
	} {
		_, err := worker.New(worker.Config{
			Store: h.store, Accounts: test.accounts, Registerer: prometheus.NewRegistry(),
		})
		if good := err == nil; good != test.good {
			t.Errorf("%s: got error %v, want good: %v", test.name, err, test.good)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	idle, err := worker.New(worker.Config{
		Store: h.store, Accounts: []worker.Account{configured(account, makes())},
	})
	if err != nil {
		t.Fatalf("making a worker: %v", err)
	}
	if err := idle.Ready(); err == nil || !strings.Contains(err.Error(), "rooms-acme") {
		t.Errorf("before Run: got error %v, want one that names the consumer", err)
	}
	r := h.startWith(makes())
	roomlinktest.Await(h.tb, "a worker that is ready", func() bool { return r.Ready() == nil })
	want, got := store.ConsumerConfig(account), h.consumer().Config
	if got.Durable != want.Durable || got.FilterSubject != want.FilterSubject || got.AckWait != want.AckWait ||
		got.MaxDeliver != -1 || got.MaxAckPending != -1 {
		t.Errorf("consumer: got %+v, want %+v", got, want)
	}
}

// TestRunWithEndedContext: Run returns at once.
func TestRunWithEndedContext(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	w, err := worker.New(worker.Config{
		Store: h.store, Accounts: []worker.Account{configured(account, makes())},
	})
	if err != nil {
		t.Fatalf("making a worker: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Errorf("Run: got error %v, want none", err)
	}
}

// TestReports checks the metrics, the log lines and the dead letters. None of them contains a secret.
func TestReports(t *testing.T) {
	t.Parallel()
	r, h := everyOutcome(t)
	wantMetricNames(t, r)
	wantLogLines(t, r)
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatalf("gathering metrics: %v", err)
	}
	texts := map[string]string{"logs": r.log.String(), "metrics": fmt.Sprint(families)}
	for _, id := range []string{"rejected", "cut-off", "bad-answer"} {
		texts["dead letter "+id] = encode(t, h.deadLetter(id))
	}
	for where, text := range texts {
		for _, secret := range []string{"hush", simulator.DefaultClientSecret, "://"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: got %q in %s, want none", where, secret, text)
			}
		}
	}
}

// wantMetricNames compares the names of the metrics. Dashboards and alerts depend on them.
func wantMetricNames(t *testing.T, r *running) {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatalf("gathering metrics: %v", err)
	}
	var got []string // the registry sorts them
	for _, family := range families {
		got = append(got, family.GetName())
		if family.GetHelp() == "" {
			t.Errorf("metric %s: got no help, want a sentence", family.GetName())
		}
	}
	want := []string{
		"roomlink_breaker_open_since_timestamp_seconds",
		"roomlink_breaker_reason",
		"roomlink_breaker_state",
		"roomlink_dead_letters_total",
		"roomlink_events_in_flight",
		"roomlink_events_settled_total",
		"roomlink_facade_answers_total",
		"roomlink_facade_call_duration_seconds",
		"roomlink_facade_calls_in_flight",
		"roomlink_facade_calls_limit",
		"roomlink_facade_calls_total",
		"roomlink_facade_failures_total",
		"roomlink_links_latency_seconds",
		"roomlink_links_phase_seconds",
		"roomlink_orphans_possible_total",
		"roomlink_token_age_seconds",
		"roomlink_token_fetches_total",
		"roomlink_unexpected_link_hosts_total",
	}
	if !slices.Equal(got, want) {
		t.Errorf("metrics: got %v, want %v", got, want)
	}
	if age := r.metric("roomlink_token_age_seconds", "account", account); age <= 0 || age > 45 {
		t.Errorf("age of the token: got %v s, want more than 0 and at most 45", age)
	}
	r.wantMetric(4, "roomlink_facade_call_duration_seconds", "account", account)
	r.wantMetric(4, "roomlink_events_settled_total", "account", account)
	r.wantMetric(1, "roomlink_facade_answers_total", "status", "4xx")
	r.wantMetric(1, "roomlink_token_fetches_total", "account", account, "outcome", "fetched")
	r.wantMetric(5, "roomlink_links_phase_seconds") // of the one event with links
}

// wantLogLines compares the log messages and their fields. Operators search for them.
func wantLogLines(t *testing.T, r *running) {
	t.Helper()
	found := map[string]int{}
	for line := range strings.Lines(r.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if fields["component"] != "worker" || fields["account"] != account {
			t.Errorf("line: got %s, want its component and account", line)
		}
		message := fmt.Sprint(fields["message"])
		found[message]++
		if message == "links stored" && (fields["interaction_id"] != "good" || fields["attempts"] != 1.0) {
			t.Errorf("line: got %s, want the interaction id and the attempts", line)
		}
	}
	want := map[string]int{
		"links stored": 1, "event became a dead letter": 3,
		"a link is on an unexpected host: set ROOMLINK_LINK_HOSTS to refuse such links": 1,
	}
	if !maps.Equal(found, want) {
		t.Errorf("log lines: got %v, want %v", found, want)
	}
}

// everyOutcome runs a worker through one conversation that succeeds and three that fail, and stops it. The answers of
// auvious contain secrets wherever they could.
func everyOutcome(t *testing.T) (*running, *harness) {
	t.Helper()
	h := newHarness(t)
	s, client := serve(t, simulator.Config{})
	s.ScriptTokens(func(int) *simulator.Answer {
		return &simulator.Answer{Status: 200, Body: `{"access_token":"hush-token","expires_in":3600}`}
	})
	s.Script(func(call simulator.Call) *simulator.Answer {
		switch call.InteractionID {
		case "rejected":
			return &simulator.Answer{Status: 422, Body: `{"error":"Bearer hush-token, https://auvious.test/t/hush"}`}
		case "bad-answer":
			return &simulator.Answer{Status: 200, Body: `{"agentUrl":"http://hush","recordingUrl":"","ticketUrl":"/t/hush"}`}
		case "cut-off":
			return &simulator.Answer{Close: simulator.CloseAfterReading}
		}
		return &simulator.Answer{Status: 200, Body: `{"agentUrl":"https://auvious.test/agent/hush",` +
			`"recordingUrl":"https://auvious.test/hush","ticketUrl":"https://auvious.test/t/hush"}`}
	})
	r := h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}})
	for _, id := range []string{"good", "rejected", "bad-answer", "cut-off"} {
		h.publish(roomlinktest.Started(id))
	}
	h.wantSettled()
	r.mustStop()
	return r, h
}

// TestRate: above the rate, events wait in the queue, and the broker does not deliver them.
func TestRate(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	a := simulatedAccount(makes())
	a.Auvious.Rate = 0.0001
	r := h.start(worker.Config{Accounts: []worker.Account{a}})
	for _, id := range []string{"call-1", "call-2", "call-3"} {
		h.publish(roomlinktest.Started(id))
	}
	h.links("call-1")
	roomlinktest.Await(h.tb, "the acknowledgement of the first", func() bool { return h.consumer().NumAckPending == 0 })
	if info := h.consumer(); info.NumPending != 2 || info.Delivered.Consumer != 1 {
		t.Errorf("queue: got %d waiting after %d deliveries, want 2 after 1", info.NumPending, info.Delivered.Consumer)
	}
	r.mustStop()
	r.wantMetric(1, "roomlink_facade_calls_total")
}

// TestSetAccounts adds, changes and removes accounts while another one works.
func TestSetAccounts(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	f := makes()
	steady := simulatedAccount(&f)
	r := h.start(worker.Config{Accounts: []worker.Account{steady}})
	added := simulatedAccount(makes())
	added.Name = "added"
	if err := r.SetAccounts([]worker.Account{steady, added}); err != nil {
		t.Fatalf("adding an account: %v", err)
	}
	e := roomlinktest.Started("call-1")
	e.Data.Account = "added"
	h.publish(e)
	h.next(messages.LinksStream, e.Data.LinksSubject())
	for what, accounts := range map[string][]worker.Account{
		"an account twice":            {steady, steady},
		"an account without a facade": {steady, configured("added", nil)},
		"an account without a name":   {steady, configured("", makes())},
	} {
		if err := r.SetAccounts(accounts); err == nil {
			t.Errorf("%s: got no error, want one", what)
		}
	}
	changed, calls := recorded(makes())
	if err := r.SetAccounts([]worker.Account{simulatedAccount(changed)}); err != nil {
		t.Fatalf("changing an account: %v", err)
	}
	h.publish(roomlinktest.Started("call-2"))
	roomlinktest.Receive(t, calls, "a call by the changed account")
	h.links("call-2")
	e = roomlinktest.Started("call-3")
	e.Data.Account = "added"
	h.publish(e)
	h.publish(roomlinktest.Started("call-4"))
	h.links("call-4")
	roomlinktest.Await(h.tb, "a queue with only the event of the removed account", func() bool {
		stream, err := h.store.JetStream().Stream(roomlinktest.Context(t), messages.ConversationsStream)
		return err == nil && stream.CachedInfo().State.Msgs == 1
	})
	r.mustStop()
}

// The one line at the end of an event says where its time went, from the storing of the event on.
func TestEndOfEvent(t *testing.T) {
	t.Parallel()
	const took = 20 * time.Millisecond
	h := newHarness(t)
	s, client := serve(t, simulator.Config{})
	s.Script(func(call simulator.Call) *simulator.Answer {
		slow := make(chan struct{})
		time.AfterFunc(took, func() { close(slow) })
		if call.Number == 1 {
			return &simulator.Answer{Wait: slow, Status: http.StatusServiceUnavailable}
		}
		return &simulator.Answer{Wait: slow}
	})
	event := roomlinktest.Started("call-1")
	event.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	h.publish(event)
	acks := h.acksIf(func(a ack) bool { return a.kind == "+ACK" })
	r := h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}})
	wantAck(t, acks, ack{"+ACK", 2, 1})
	r.mustStop()

	var ends []map[string]any
	for line := range strings.Lines(r.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if fields["outcome"] != nil {
			ends = append(ends, fields)
		}
	}
	if len(ends) != 1 {
		t.Fatalf("lines at the end of the event: got %v, want one", ends)
	}
	for name, want := range map[string]any{
		"message": "links stored", "outcome": "linked", "event_id": event.ID, "interaction_id": "call-1", "account": account,
		"attempts": 2.0, "trace_id": "0af7651916cd43dd8448eb211c80319c",
	} {
		if ends[0][name] != want {
			t.Errorf("%s: got %v, want %v", name, ends[0][name], want)
		}
	}
	ms := func(name string) float64 {
		value, ok := ends[0][name].(float64)
		if !ok {
			t.Errorf("%s: got %v, want a number", name, ends[0][name])
		}
		return value
	}
	sum := ms("queue_ms") + ms("lookup_ms") + ms("token_ms") + ms("facade_ms") + ms("store_ms")
	if total := ms("total_ms"); total < sum || total > sum+5 { // each part is rounded down
		t.Errorf("total: got %v ms, want the sum of the parts, %v ms", total, sum)
	}
	if got, want := ms("facade_ms"), float64(2*took.Milliseconds()-1); got < want {
		t.Errorf("facade: got %v ms, want at least %v ms of two calls", got, want)
	}
}
