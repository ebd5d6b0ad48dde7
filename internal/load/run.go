package load

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/telemetry"
)

// DefaultIdleTimeout is the default of [Test.IdleTimeout].
const DefaultIdleTimeout = time.Minute

const (
	// queryTimeout bounds each query of the broker while a test runs.
	queryTimeout = 2 * time.Second
	// pollInterval is how often a test checks whether everything has finished.
	pollInterval = 20 * time.Millisecond
)

// Target is the system under test and the ways to observe it.
type Target struct {
	// Address is the host and port of the webhook.
	Address string
	// Callers are the accounts that post events, in turn.
	Callers []Caller
	// JetStream is a connection for the test alone, which may read every stream.
	JetStream jetstream.JetStream
	// Queue is the name of the stream of events that wait for a worker.
	Queue       string
	Links       Outcomes
	DeadLetters Outcomes
	// Shared reports that others use the same links stream.
	Shared bool

	// Facade returns the counts of the simulated auvious; nil for another auvious.
	Facade func(context.Context) (simulator.Stats, error)
	// Usage returns what each part has used since its start; nil if unknown.
	Usage func() []Usage
	// Kills returns the number of parts that were killed so far; nil if none can be.
	Kills func() int
	// OrphansAllowed returns the number of rooms without links that crashes and lost answers explain so far;
	// nil for none.
	OrphansAllowed func(context.Context) int
}

// Outcomes is a stream of outcomes of conversations.
type Outcomes struct {
	Stream string
	// Subject returns the subject of a conversation. It ends with the interaction id.
	Subject func(account, interactionID string) string
}

// Caller is an account that posts events.
type Caller struct {
	Account string
	// APIKey is sent as X-API-Key.
	APIKey secret.String
}

// Test is a load test.
type Test struct {
	Target Target
	Attack Attack
	// IdleTimeout ends the wait for unfinished events after the attack: Run returns once no event has finished
	// for that long. It is [DefaultIdleTimeout] if 0.
	IdleTimeout time.Duration
	// Meanwhile runs during the attack and returns when its context ends; nil for nothing.
	Meanwhile func(context.Context)
	// AfterAttack is called after the attack; nil for nothing. It may start a worker, which then drains the
	// queue.
	AfterAttack func(context.Context) error
	// OnlyAttack excludes what the parts use after the attack.
	OnlyAttack bool
	// Progress is called with each sample; nil for nobody.
	Progress func(Sample)
}

// run is a test that runs.
type run struct {
	Test
	conversations *conversations
	meter         *meter
	// templates are the requests of each caller by turn, and requests counts those sent.
	templates [][]template
	requests  atomic.Int64

	links, deadLetters *subscriber
	// usage and facade are from before the attack.
	usage  []Usage
	facade simulator.Stats
}

// Run runs the test. When ctx ends, Run stops the attack and still waits for the events that were sent. It
// returns [ErrAttack] for an impossible attack, the error of AfterAttack, or an error that says why the test
// could not run.
func (t Test) Run(ctx context.Context) (Result, error) {
	var err error
	if t.Attack, err = t.Attack.withDefaults(); err != nil {
		return Result{}, err
	}
	if t.IdleTimeout == 0 {
		t.IdleTimeout = DefaultIdleTimeout
	}
	r := &run{Test: t, conversations: newConversations()}
	r.templates = templates(t.Target, t.Attack.Shapes, r.conversations.idLength())
	rest := context.WithoutCancel(ctx)
	defer r.close()
	if err := r.prepare(rest); err != nil {
		return Result{}, fmt.Errorf("preparing the test: %w", err)
	}
	return r.run(ctx, rest)
}

// prepare subscribes and records the counts before the attack.
func (r *run) prepare(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	if r.links, err = r.subscribe(ctx, r.Target.Links, (*meter).sawLinks); err != nil {
		return err
	}
	if r.deadLetters, err = r.subscribe(ctx, r.Target.DeadLetters, (*meter).sawDeadLetter); err != nil {
		return err
	}
	if r.Target.Facade != nil {
		if r.facade, err = r.Target.Facade(ctx); err != nil {
			return err
		}
	}
	if r.Target.Usage != nil {
		r.usage = r.Target.Usage()
	}
	return nil
}

// subscribe passes the conversations of a stream's messages to saw.
func (r *run) subscribe(ctx context.Context, from Outcomes, saw func(*meter, *conversation)) (*subscriber, error) {
	return subscribe(ctx, r.Target.JetStream, from.Stream, func(subject string) {
		if c := r.conversations.bySubject(subject); c != nil {
			saw(r.meter, c)
		}
	})
}

func (r *run) close() {
	for _, s := range []*subscriber{r.links, r.deadLetters} {
		if s != nil {
			s.close()
		}
	}
}

// run attacks until ctx ends. Everything after the attack runs with rest.
func (r *run) run(ctx, rest context.Context) (Result, error) {
	result := Result{
		Version: telemetry.Version(), StartedAt: time.Now().UTC(),
		Machine: Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
	}
	r.meter = newMeter()
	stopSampling := r.startSampling(rest)
	defer stopSampling()
	r.attack(ctx)
	used := r.used()
	attackEnd := time.Since(r.meter.start)
	if r.AfterAttack != nil {
		if err := r.AfterAttack(rest); err != nil {
			return Result{}, err
		}
	}
	r.awaitFinish(rest)
	if !r.OnlyAttack {
		used = r.used()
	}
	stopSampling()
	r.summarize(rest, &result, used)
	if r.AfterAttack != nil {
		result.Drain = max(r.meter.lastLinks-attackEnd, 0).Seconds()
	}
	return result, nil
}

// startSampling takes a sample each second until stop is called, which may be called twice.
func (r *run) startSampling(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			sample := r.meter.sample(r.depth(ctx))
			if r.Progress != nil {
				r.Progress(sample)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// depth returns the number of events in the queue; -1 if it is unknown.
func (r *run) depth(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	stream, err := r.Target.JetStream.Stream(ctx, r.Target.Queue)
	if err != nil {
		return -1
	}
	return int(stream.CachedInfo().State.Msgs)
}

// awaitFinish waits until every event has finished, or until none has for IdleTimeout.
func (r *run) awaitFinish(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	finished, since := int64(-1), time.Now()
	for !r.allFinished(ctx) {
		if now := r.meter.finished.Load(); now != finished {
			finished, since = now, time.Now()
		}
		if time.Since(since) > r.IdleTimeout {
			return
		}
		<-ticker.C
	}
}

// allFinished reports whether all accepted events have finished, the queue is empty and the last links were
// seen. The queue may contain events whose answer was lost.
func (r *run) allFinished(ctx context.Context) bool {
	if r.meter.finished.Load() < r.meter.accepted.Load() || r.depth(ctx) != 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	last, err := r.links.last(ctx)
	return err == nil && r.links.seen.Load() >= last
}

// used returns what each part has used since the attack began.
func (r *run) used() []Usage {
	if r.Target.Usage == nil {
		return nil
	}
	before := map[string]time.Duration{}
	for _, usage := range r.usage {
		before[usage.Name] = usage.CPU
	}
	all := r.Target.Usage()
	for i := range all {
		all[i].CPU -= before[all[i].Name]
	}
	return all
}
