package load_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"roomlink/internal/load"
)

// example returns a result in which every figure has a different value.
func example() load.Result {
	return load.Result{
		Version: "v1.2.3", Machine: load.Machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1.26.8"},
		StartedAt: time.Date(2026, time.November, 25, 21, 30, 0, 0, time.UTC),
		Settings:  map[string]string{"rate": "500", "facade-latency": "50ms"},
		Duration:  2.5,
		Requests: load.Requests{
			Sent: 1253, Accepted: 1250, Refused: 2, Failed: 1, Statuses: map[int]int{429: 2},
		},
		AcceptedPerSecond: 500, LinkedPerSecond: 480,
		Answer: load.Latency{Count: 1250, Mean: 0.001, P50: 0.001, P90: 0.002, P99: 0.004, P999: 0.005, Max: 0.006},
		Links: load.Latency{
			Count: 1247, Mean: 0.065, P50: 0.06, P90: 0.08, P99: 0.09, P999: 0.1, Max: 0.2,
			Curve: []load.Point{{Percentile: 50, Value: 0.06}, {Percentile: 100, Value: 0.2}},
		},
		Drain:  12.5,
		Series: []load.Sample{{At: 0, Sent: 500, Queue: -1}, {At: 1, Sent: 500, LinksP50: 0.06}},
		Parts: []load.Part{
			{Name: "serve", CPUSeconds: 0.25, CPUPerThousand: 0.2, PeakMemory: 100e6},
			{Name: "load", CPUSeconds: 0.0625, CPUPerThousand: 0.05, PeakMemory: 300e6},
		},
		Facade: load.Facade{Counted: true, Calls: 1254, Failed: 4, Rooms: 1251, TokenCalls: 1},
		Reconciliation: load.Reconciliation{
			Sent: 1253, Accepted: 1250, Refused: 2, Unanswered: 1, Linked: 1247, DeadLettered: 3, Orphans: 4, OrphansAllowed: 4,
		},
	}
}

func TestReconcile(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*load.Result)
		want   []string
	}{
		{"all adds up", func(*load.Result) {}, nil},
		{"nothing sent", func(r *load.Result) { r.Reconciliation = load.Reconciliation{} }, []string{"Nothing was sent."}},
		{
			"sent", func(r *load.Result) { r.Reconciliation.Sent++ },
			[]string{"Sent: 1254, but accepted + refused + unanswered = 1253."},
		},
		{
			"accepted", func(r *load.Result) { r.Reconciliation.Linked-- },
			[]string{"Accepted: 1250, but linked + dead-lettered + missing = 1249."},
		},
		{
			"missing", func(r *load.Result) { r.Reconciliation.Linked, r.Reconciliation.Missing = 1246, 1 },
			[]string{"Accepted but without links or a dead letter: 1."},
		},
		{"doubles", func(r *load.Result) { r.Reconciliation.Doubles = 2 }, []string{"With more than one set of links: 2."}},
		{
			"orphans", func(r *load.Result) { r.Reconciliation.Orphans = 5 },
			[]string{"Rooms without links: 5, but crashes and lost answers explain 4."},
		},
		{"waiting", func(r *load.Result) { r.Reconciliation.Waiting = 7 }, []string{"Still in the queue: 7."}},
		{
			"tickets", func(r *load.Result) { r.Facade.TicketFetches = 1 },
			[]string{"Tickets fetched: 1, but only the customer may fetch one."},
		},
	} {
		r := example()
		r.Reconciliation.Faults = []string{"An old one."}
		test.change(&r)
		r.Reconcile()
		if got := r.Reconciliation.Faults; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		if got := errors.Is(r.Err(), load.ErrDoesNotAddUp); got != (test.want != nil) {
			t.Errorf("%s: got %v as the error, want faults %q", test.name, r.Err(), test.want)
		}
	}
}

func TestErrNamesMissedConditions(t *testing.T) {
	r := example()
	r.Reconcile()
	var conditions []load.Condition
	for _, expression := range []string{"p99<500ms", "p50<1ms", "rate>=800"} {
		condition, err := load.ParseCondition(expression)
		if err != nil {
			t.Fatal(err)
		}
		conditions = append(conditions, condition)
	}
	r.Judge(conditions[:1])
	if err := r.Err(); err != nil || !r.Passed() {
		t.Errorf("met: got %v, want none", err)
	}
	r.Judge(conditions)
	want := "thresholds missed: p50<1ms, rate>=800"
	if err := r.Err(); !errors.Is(err, load.ErrThresholdMissed) || err.Error() != want || r.Passed() {
		t.Errorf("missed: got %v, want %q", err, want)
	}
}

func TestResultRoundTrip(t *testing.T) {
	r := example()
	r.Reconciliation.Waiting = 1
	r.Reconcile()
	r.Thresholds = []load.Threshold{{Expression: "p99<1s", Found: 0.09, Met: true}, {Expression: "drain>1s", Unknown: true}}
	written, err := json.Marshal(r)
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	got, err := load.Read(bytes.NewReader(written))
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v and %v, want %+v", got, err, r)
	}
}

// TestReadIgnoresUnknownFields reads a result of a version with a reference.
func TestReadIgnoresUnknownFields(t *testing.T) {
	want := example()
	written, err := json.Marshal(want)
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	old := strings.Replace(string(written), "{", `{"reference":{"links":{"count":1}},`, 1)
	got, err := load.Read(strings.NewReader(old))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
}

func TestReadRefuses(t *testing.T) {
	broken := errors.New("the disk is broken")
	if _, err := load.Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	whole, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]string{
		"":                           "unexpected end of JSON input",
		"[]":                         "cannot unmarshal array",
		"null":                       `it has no "startedAt"`,
		"{}":                         `it has no "startedAt"`,
		string(whole) + "{}":         "after top-level value",
		string(whole[:len(whole)/2]): "unexpected end of JSON input",
		strings.Replace(string(whole), `"duration":2.5`, `"duration":"2.5"`, 1): "duration",
	} {
		_, err := load.Read(strings.NewReader(content))
		if !errors.Is(err, load.ErrNotAResult) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, want %q", content, err, want)
		}
	}
}

func TestFacadeLatency(t *testing.T) {
	unknown := math.NaN()
	for _, test := range []struct {
		settings map[string]string
		want     float64
	}{
		{nil, 0},
		{map[string]string{"facade-latency": "50ms"}, 0.05},
		{map[string]string{"facade-latency": "1h"}, 3600},
		{map[string]string{"facade-latency": "lognormal:50ms,0.5"}, unknown},
		{map[string]string{"auvious-url": "https://auvious.example"}, unknown},
	} {
		r := example()
		r.Settings = test.settings
		if got := r.FacadeLatency(); got != test.want && !(math.IsNaN(got) && math.IsNaN(test.want)) {
			t.Errorf("%v: got %v, want %v", test.settings, got, test.want)
		}
	}
}
