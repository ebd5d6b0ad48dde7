package load_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/load"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
)

// path is a webhook and a broker. The test chooses every response and every message.
type path struct {
	js     jetstream.JetStream
	target load.Target
	rooms  int
	// answer responds to a request. Requests are numbered from 0.
	answer func(p *path, w http.ResponseWriter, number int, id string)

	mu     sync.Mutex
	number int
	ids    map[string]int
}

// startPath serves a path until the test ends.
func startPath(t *testing.T, answer func(*path, http.ResponseWriter, int, string)) *path {
	t.Helper()
	b := roomlinktest.StartBroker(t)
	p := &path{js: roomlinktest.Connect(t, b), answer: answer, ids: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(server.Close)
	p.target = load.Target{
		Address: strings.TrimPrefix(server.URL, "http://"), JetStream: roomlinktest.Connect(t, b),
		Callers: []load.Caller{{Account: "acme", APIKey: secret.String("the-key")}},
		Usage:   func() []load.Part { return nil },
		Facade: func(context.Context) (simulator.Stats, error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			return simulator.Stats{RoomsMade: p.rooms, RoomCalls: p.rooms}, nil
		},
		OrphansAllowed: func(context.Context) int { return 0 },
	}
	return p
}

// serve passes the requests to answer, one at a time.
func (p *path) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var event map[string]string
	if err != nil || json.Unmarshal(body, &event) != nil || r.Header.Get("X-API-Key") != "the-key" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	id := event["interaction_id"]
	p.mu.Lock()
	defer p.mu.Unlock()
	number := p.number
	p.number++
	p.ids[id]++
	p.answer(p, w, number, id)
}

// publish stores an empty message on a subject.
func (p *path) publish(w http.ResponseWriter, subject string) {
	ctx, cancel := context.WithTimeout(context.Background(), roomlinktest.Timeout)
	defer cancel()
	if _, err := p.js.Publish(ctx, subject, nil); err != nil {
		w.WriteHeader(http.StatusTeapot)
	}
}

// room makes a room and publishes its links.
func (p *path) room(w http.ResponseWriter, id string) {
	p.rooms++
	p.publish(w, "roomlink.links.acme."+id)
}

// attack returns a small attack.
func attack(requests int) load.Attack {
	return load.Attack{Requests: requests, Connections: 4, Shapes: mix("automation")}
}

// mix returns the mix of a text.
func mix(text string) load.ShapeMix {
	var m load.ShapeMix
	if err := m.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return m
}

// runTest runs a test with a short idle timeout, for events that never finish.
func runTest(t *testing.T, test load.Test) load.Result {
	t.Helper()
	test.IdleTimeout = 200 * time.Millisecond
	test.Progress = func(load.Sample) {}
	r, err := test.Run(roomlinktest.Context(t))
	if err != nil {
		t.Fatalf("running the test: %v", err)
	}
	return r
}

// TestReconciliation counts every mistake that a path can make.
func TestReconciliation(t *testing.T) {
	p := startPath(t, func(p *path, w http.ResponseWriter, number int, id string) {
		switch number % 10 {
		case 0: // refused
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case 1: // stored, but no answer
			p.room(w, id)
			panic(http.ErrAbortHandler)
		case 2: // no answer
			panic(http.ErrAbortHandler)
		case 3: // a dead letter
			p.publish(w, "roomlink.deadletters.acme."+id)
		case 4: // lost
		case 5: // links twice
			p.room(w, id)
			p.publish(w, "roomlink.links.acme."+id)
		case 6: // one room too many
			p.rooms++
			p.room(w, id)
		case 7: // a duplicate of an event that was never accepted
			p.room(w, id)
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, `{"status":"duplicate"}`)
			return
		default:
			p.room(w, id)
		}
		w.WriteHeader(http.StatusAccepted)
	})
	r := runTest(t, load.Test{Target: p.target, Attack: attack(100)})
	got := r.Reconciliation
	got.Faults = nil
	want := load.Reconciliation{
		Sent: 100, Accepted: 70, Refused: 10, Unanswered: 20,
		Linked: 50, DeadLettered: 10, Missing: 10, Doubles: 10, Orphans: 10,
	}
	if got.Sent != want.Sent || got.Accepted != want.Accepted || got.Refused != want.Refused ||
		got.Unanswered != want.Unanswered || got.Linked != want.Linked || got.DeadLettered != want.DeadLettered ||
		got.Missing != want.Missing || got.Doubles != want.Doubles || got.Orphans != want.Orphans || got.Waiting != 0 {
		t.Errorf("reconciliation: got %+v, want %+v", got, want)
	}
	if q := r.Requests; q.Sent != 100 || q.Accepted != 60 || q.Duplicates != 10 || q.Refused != 10 || q.Failed != 20 ||
		q.Statuses[http.StatusServiceUnavailable] != 10 {
		t.Errorf("requests: got %+v, want 100 by their answers", q)
	}
	if r.Answer.Count != 70 || r.Links.Count != 50 {
		t.Errorf("latencies: got %d answers and %d links, want 70 and 50", r.Answer.Count, r.Links.Count)
	}
	if len(p.ids) != 100 {
		t.Errorf("ids: got %d, want 100", len(p.ids))
	}
}

// accept makes one room for each conversation.
func accept(p *path, w http.ResponseWriter, _ int, id string) {
	if p.ids[id] > 1 {
		_, _ = io.WriteString(w, `{"status":"duplicate"}`)
		return
	}
	p.room(w, id)
	w.WriteHeader(http.StatusAccepted)
}

func TestDuplicates(t *testing.T) {
	p := startPath(t, accept)
	a := attack(200)
	a.Duplicates = 0.5
	r := runTest(t, load.Test{Target: p.target, Attack: a})
	if q := r.Requests; q.Duplicates == 0 || q.Accepted+q.Duplicates != 200 || q.Accepted != len(p.ids) {
		t.Errorf("requests: got %+v for %d ids, want some repeated and each of them accepted once", q, len(p.ids))
	}
	if got := r.Reconciliation; got.Sent != len(p.ids) || got.Linked != len(p.ids) || got.Doubles != 0 {
		t.Errorf("reconciliation: got %+v, want %d conversations", got, len(p.ids))
	}
}

// TestDueTimes stalls the path once. Every request that was due meanwhile must show the
// stall, even if it was sent after it.
func TestDueTimes(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it posts events for seconds")
	const stall = time.Second
	p := startPath(t, func(p *path, w http.ResponseWriter, number int, id string) {
		if number == 100 {
			<-time.After(stall) // the others wait for the lock
		}
		accept(p, w, number, id)
	})
	a := attack(0)
	a.Rate, a.Ramp, a.Duration = 100, time.Second, 4*time.Second
	r := runTest(t, load.Test{Target: p.target, Attack: a})
	// The ramp of a second counts as half a second at the full rate.
	if r.Requests.Sent != 350 {
		t.Errorf("requests: got %d, want 350", r.Requests.Sent)
	}
	// About 100 requests, a quarter of all, were due in that second and waited half of it on average.
	if r.Answer.P90 < (stall/4).Seconds() || r.Answer.Max < stall.Seconds() {
		t.Errorf("latency: got %v s at 90 %% and %v s at most, want the stall of %v in it", r.Answer.P90, r.Answer.Max, stall)
	}
	if r.Requests.Late == 0 {
		t.Error("got no late requests, want those of the stall")
	}
}

// TestAfterAttack makes the links after the attack.
func TestAfterAttack(t *testing.T) {
	var ids []string
	p := startPath(t, func(_ *path, w http.ResponseWriter, _ int, id string) {
		ids = append(ids, id)
		w.WriteHeader(http.StatusAccepted)
	})
	beside := make(chan struct{})
	r := runTest(t, load.Test{
		Target: p.target, Attack: attack(20),
		Meanwhile: func(ctx context.Context) {
			<-ctx.Done()
			close(beside)
		},
		AfterAttack: func(context.Context) error {
			<-beside
			for _, id := range ids {
				p.room(httptest.NewRecorder(), id)
			}
			return nil
		},
	})
	if r.Reconciliation.Linked != 20 || r.Drain <= 0 {
		t.Errorf("got %d linked and a drain of %v s, want 20 and a positive drain", r.Reconciliation.Linked, r.Drain)
	}
	want := errors.New("no worker")
	_, err := load.Test{
		Target: p.target, Attack: attack(1), AfterAttack: func(context.Context) error { return want },
		Progress: func(load.Sample) {},
	}.Run(t.Context())
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

func TestStop(t *testing.T) {
	p := startPath(t, accept)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	a := attack(0)
	a.Duration = time.Hour
	a.Rate = 100
	r, err := load.Test{Target: p.target, Attack: a, Progress: func(load.Sample) { stop() }}.Run(ctx)
	if err != nil {
		t.Fatalf("running the test: %v", err)
	}
	if got := r.Reconciliation; got.Sent == 0 || got.Linked != got.Sent {
		t.Errorf("reconciliation: got %+v, want what was sent before the stop, with its links", got)
	}
}

func TestImpossibleAttacks(t *testing.T) {
	p := startPath(t, accept)
	for name, change := range map[string]func(*load.Attack){
		"no end":          func(a *load.Attack) { a.Requests = 0 },
		"a ramp to none":  func(a *load.Attack) { a.Ramp = time.Second },
		"only duplicates": func(a *load.Attack) { a.Duplicates = 1 },
		"no shapes":       func(a *load.Attack) { a.Shapes = load.ShapeMix{} },
		"no weight":       func(a *load.Attack) { a.Shapes = mix("digital=0") },
		"a negative rate": func(a *load.Attack) { a.Rate = -1 },
	} {
		a := attack(1)
		change(&a)
		if _, err := (load.Test{Target: p.target, Attack: a}).Run(t.Context()); !errors.Is(err, load.ErrAttack) {
			t.Errorf("%s: got error %v, want %v", name, err, load.ErrAttack)
		}
	}
}
