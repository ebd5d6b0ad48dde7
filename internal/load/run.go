package load

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/telemetry"
	"roomlink/messages"
)

// DefaultIdleTimeout is the default of Test.IdleTimeout.
const DefaultIdleTimeout = time.Minute

const (
	// prepareTimeout bounds everything before the first request.
	prepareTimeout = 10 * time.Second
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
	// Shared reports that others use the same links stream.
	Shared bool

	// Facade returns the counts of the simulated auvious; nil for another auvious.
	Facade func(context.Context) (simulator.Stats, error)
	// Usage returns what each part has used since its start.
	Usage func() []Part
	// OrphansAllowed returns the number of rooms without links that crashes and lost answers explain so far.
	OrphansAllowed func(context.Context) int
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
	// Progress is called with each sample.
	Progress func(Sample)
}

// run is a test that runs.
type run struct {
	Test
	meter *meter
	// headers are the first headers of each caller, and turns the templates of the shapes by turn.
	headers [][]byte
	turns   []template
	// sent counts the requests.
	sent atomic.Int64

	links, deadLetters *subscriber
	// usage and facade are from before the attack.
	usage  []Part
	facade simulator.Stats
}

// Run runs the test. When ctx ends, Run stops the attack and still waits for the events that were sent. It
// returns [ErrAttack] for an impossible attack, the error of AfterAttack, or an error that says why the test
// could not run.
func (t Test) Run(ctx context.Context) (Result, error) {
	if err := t.Attack.Check(); err != nil {
		return Result{}, err
	}
	r := &run{Test: t, meter: newMeter()}
	rest := context.WithoutCancel(ctx)
	defer r.close()
	if err := r.prepare(rest); err != nil {
		return Result{}, fmt.Errorf("preparing the test: %w", err)
	}
	return r.run(ctx, rest)
}

// prepare subscribes and records the counts before the attack.
func (r *run) prepare(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	js := r.Target.JetStream
	if r.links, err = subscribe(ctx, js, messages.LinksStream, r.meter.sawLinks); err != nil {
		return err
	}
	if r.deadLetters, err = subscribe(ctx, js, messages.DeadLettersStream, r.meter.sawDeadLetter); err != nil {
		return err
	}
	if r.Target.Facade != nil {
		if r.facade, err = r.Target.Facade(ctx); err != nil {
			return err
		}
	}
	r.usage = r.Target.Usage()
	return r.prepareRequests()
}

// close ends the subscriptions. It may be called twice.
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
	r.meter.start = time.Now()
	sampling, stopSampling := context.WithCancel(rest)
	var sampler sync.WaitGroup
	sampler.Go(func() { r.sampleEverySecond(sampling) })
	defer sampler.Wait()
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
	sampler.Wait()
	r.close() // the counts stay as they are from here on
	r.summarize(rest, &result, used)
	if r.AfterAttack != nil {
		result.Drain = max(r.meter.lastLinks-attackEnd, 0).Seconds()
	}
	return result, nil
}

// sampleEverySecond takes a sample each second until ctx ends.
func (r *run) sampleEverySecond(ctx context.Context) {
	tick := time.Tick(time.Second)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			r.Progress(r.meter.sample(r.depth(ctx)))
		}
	}
}

// depth returns the number of events in the queue; -1 if it is unknown.
func (r *run) depth(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	state, err := streamState(ctx, r.Target.JetStream, messages.ConversationsStream)
	if err != nil {
		return -1
	}
	return int(state.Msgs)
}

// awaitFinish waits until every event has finished, or until none has for IdleTimeout.
func (r *run) awaitFinish(ctx context.Context) {
	idleTimeout := cmp.Or(r.IdleTimeout, DefaultIdleTimeout)
	finished, since := -1, time.Now()
	for !r.allFinished(ctx) {
		if _, now := r.meter.progress(); now != finished {
			finished, since = now, time.Now()
		}
		if time.Since(since) > idleTimeout {
			return
		}
		<-time.After(pollInterval)
	}
}

// allFinished reports whether all accepted events have finished, the queue is empty and the last links were
// seen. The queue may contain events whose answer was lost.
func (r *run) allFinished(ctx context.Context) bool {
	if accepted, finished := r.meter.progress(); finished < accepted || r.depth(ctx) != 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	state, err := streamState(ctx, r.Target.JetStream, messages.LinksStream)
	return err == nil && r.links.seen.Load() >= state.LastSeq
}

// used returns what each part has used since the attack began.
func (r *run) used() []Part {
	before := map[string]float64{}
	for _, part := range r.usage {
		before[part.Name] = part.CPUSeconds
	}
	all := r.Target.Usage()
	for i := range all {
		all[i].CPUSeconds -= before[all[i].Name]
	}
	return all
}
