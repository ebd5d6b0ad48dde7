package load

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/telemetry"
)

// DefaultSettle is how long a test waits without news for what still waits.
const DefaultSettle = time.Minute

const (
	// askWithin bounds each question to the system while a test runs.
	askWithin = 2 * time.Second
	// settlePoll is how often a test looks whether everything has come to its end.
	settlePoll = 20 * time.Millisecond
)

// Target is what a test sends its requests to, and how it sees what comes of them.
type Target struct {
	// Address is the host and port of the webhook.
	Address string
	// Callers are the accounts that post, in turn.
	Callers []Caller
	// JetStream is a connection for the test alone. It may read every stream.
	JetStream jetstream.JetStream
	// Queue, Links and DeadLetters are the streams; the name of DeadLetters is ""
	// where there are none.
	Queue       string
	Links       Outcomes
	DeadLetters Outcomes
	// Shared says that others store links there too.
	Shared bool

	// Facade returns the counts of the simulated auvious; nil for another auvious.
	Facade func(context.Context) (simulator.Stats, error)
	// Usage returns what each part has used since it was started; nil for nobody.
	Usage func() []Usage
	// Kills returns how many parts were killed so far; nil for none.
	Kills func() int
	// OrphansAllowed returns how many rooms without links crashes and lost answers
	// explain by now; nil for none.
	OrphansAllowed func(context.Context) int
}

// Outcomes is a stream with what becomes of conversations.
type Outcomes struct {
	Stream string
	// Subject is that of a conversation. It ends in the interaction id.
	Subject func(account, interactionID string) string
}

// Caller is an account that posts events.
type Caller struct {
	Account string
	// APIKey is sent as X-API-Key unless it is empty.
	APIKey secret.String
}

// Usage is what a part has used since it was started.
type Usage struct {
	// Name is as in [Part].
	Name string
	// CPU is the time it ran on any core.
	CPU time.Duration
	// PeakMemory is the most that was resident, in bytes.
	PeakMemory int64
}

// Test is a load test.
type Test struct {
	Target Target
	Attack Attack
	// Settle is how long to wait, after the attack, without any more links for what
	// still waits; [DefaultSettle] if 0.
	Settle time.Duration
	// Meanwhile runs while the attack does, and returns soon after its context ends;
	// nil for nothing.
	Meanwhile func(context.Context)
	// AfterAttack is called once the attack has ended; nil for nothing. A worker that
	// it starts works on what has gathered.
	AfterAttack func(context.Context) error
	// OnlyAttack leaves out of the parts what was used after the attack.
	OnlyAttack bool
	// Progress is told of each second; nil for nobody.
	Progress func(Sample)
}

// run is a test that runs.
type run struct {
	Test
	conversations *conversations
	meter         *meter
	links         *subscriber
	deadLetters   *subscriber
	usage         []Usage
	facade        simulator.Stats
}

// Run runs the test. If the context ends, the attack does, and what was sent by
// then is still waited for. Its errors say that the test could not be held, wrap
// [ErrAttack] for an impossible one, or are those of AfterAttack.
func (t Test) Run(ctx context.Context) (Result, error) {
	attack, err := t.Attack.withDefaults()
	if err != nil {
		return Result{}, err
	}
	t.Attack = attack
	if t.Settle == 0 {
		t.Settle = DefaultSettle
	}
	r := &run{Test: t, conversations: newConversations()}
	rest := context.WithoutCancel(ctx)
	if err := r.prepare(rest); err != nil {
		return Result{}, err
	}
	defer r.close()
	return r.run(ctx, rest)
}

// run attacks until ctx ends, and does the rest in the context for that.
func (r *run) run(ctx, rest context.Context) (Result, error) {
	result := Result{
		Version: telemetry.Version(), StartedAt: time.Now().UTC(),
		Machine: Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version()},
	}
	r.meter = newMeter()
	sampling, stop := context.WithCancel(rest)
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		r.sample(sampling)
	}()
	defer func() {
		stop()
		<-sampled
	}()
	a := &attacker{
		Attack: r.Attack, address: r.Target.Address, conversations: r.conversations, meter: r.meter,
		templates: templates(r.Target, r.Attack.Shapes, r.conversations.idLength()),
	}
	r.attackWith(ctx, a)
	used := r.used()
	drainFrom := time.Since(r.meter.began)
	if r.AfterAttack != nil {
		if err := r.AfterAttack(rest); err != nil {
			return Result{}, err
		}
	}
	r.settle(rest)
	if !r.OnlyAttack {
		used = r.used()
	}
	stop()
	<-sampled
	r.conclude(rest, &result, used)
	if r.AfterAttack != nil {
		result.Drain = max(r.meter.lastLinks-drainFrom, 0).Seconds()
	}
	return result, nil
}

// attackWith runs the attack, and what is to run beside it.
func (r *run) attackWith(ctx context.Context, a *attacker) {
	ctx, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	if r.Meanwhile != nil {
		beside.Go(func() { r.Meanwhile(ctx) })
	}
	a.run(ctx)
	stop()
	beside.Wait()
}

// prepare subscribes, and notes what was there before.
func (r *run) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	var err error
	r.links, err = subscribe(ctx, r.Target.JetStream, r.Target.Links.Stream, func(subject string) {
		if c := r.conversations.of(subject); c != nil {
			r.meter.sawLinks(c)
		}
	})
	if err != nil {
		return err
	}
	if r.Target.DeadLetters.Stream != "" {
		r.deadLetters, err = subscribe(ctx, r.Target.JetStream, r.Target.DeadLetters.Stream, func(subject string) {
			if c := r.conversations.of(subject); c != nil {
				r.meter.sawDeadLetter(c)
			}
		})
	}
	if err == nil && r.Target.Facade != nil {
		r.facade, err = r.Target.Facade(ctx)
	}
	if err != nil {
		r.close()
		return fmt.Errorf("preparing the test: %w", err)
	}
	if r.Target.Usage != nil {
		r.usage = r.Target.Usage()
	}
	return nil
}

func (r *run) close() {
	for _, s := range []*subscriber{r.links, r.deadLetters} {
		if s != nil {
			s.close()
		}
	}
}

// sample closes each second until the context ends.
func (r *run) sample(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		queue, err := r.depth(ctx)
		if err != nil {
			queue = -1
		}
		sample := r.meter.sample(queue)
		if r.Progress != nil {
			r.Progress(sample)
		}
	}
}

// depth is how many events the queue holds.
func (r *run) depth(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	stream, err := r.Target.JetStream.Stream(ctx, r.Target.Queue)
	if err != nil {
		return 0, fmt.Errorf("measuring the queue: %w", err)
	}
	return int(stream.CachedInfo().State.Msgs), nil
}

// settle waits until everything has come to its end and was seen, or for as long
// as Settle without any more of it.
func (r *run) settle(ctx context.Context) {
	ticker := time.NewTicker(settlePoll)
	defer ticker.Stop()
	finished, since := int64(-1), time.Now()
	for !r.settled(ctx) {
		if now := r.meter.finished.Load(); now != finished {
			finished, since = now, time.Now()
		}
		if time.Since(since) > r.Settle {
			return
		}
		<-ticker.C
	}
}

// settled reports whether all that was accepted has ended, and the rest, whose
// answers were lost, too: the queue is empty, and the last links were seen.
func (r *run) settled(ctx context.Context) bool {
	if r.meter.finished.Load() < r.meter.accepted.Load() {
		return false
	}
	if depth, err := r.depth(ctx); err != nil || depth > 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	last, err := r.links.last(ctx)
	return err == nil && r.links.seen.Load() >= last
}

// used is what each part used since the beginning.
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
