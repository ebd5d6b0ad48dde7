package worker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"roomlink/internal/store"
)

const (
	// pullWait is how long a pull waits for events. A stop waits for it too, so
	// that nothing is delivered to nobody.
	pullWait = time.Second
	// pullMost bounds one pull.
	pullMost = 128
	// pullBackoff is how long a failed pull is followed by none.
	pullBackoff = time.Second
	// burstPart is which part of a second's calls may begin at once.
	burstPart = 10
	// aheadPart is how many more events are held than calls may run, as a part of
	// those: they are looked up, or about to be acknowledged, while all calls run.
	aheadPart = 8
	// requestTimeout of one request to the broker.
	requestTimeout = 5 * time.Second
)

// account pulls and works on the events of one account.
type account struct {
	Account
	client  *store.Store
	hearts  *hearts
	breaker *breaker
	clock   *wallClock
	history *history
	metrics accountMetrics
	log     zerolog.Logger

	// slots holds a token for every event that may be taken on, and calls takes one
	// for every call that runs or whose links are being stored.
	slots, calls chan struct{}
	// limiter and allowed bound the calls a second; allowed are those that were
	// granted and not used.
	limiter *rate.Limiter
	allowed int
	bound   atomic.Bool

	// swept is when strays were last looked for.
	swept time.Time
	// stop ends the work of this account alone. It belongs to the worker's lock.
	stop func()
	// quiet is closed when nothing is pulled any more.
	quiet chan struct{}
}

func newAccount(config Account, w *Worker) *account {
	rooms, limit := config.Auvious, rate.Inf
	if rooms.Rate > 0 {
		limit = rate.Limit(rooms.Rate)
	}
	a := &account{
		Account: config,
		client:  w.client,
		hearts:  w.hearts,
		clock:   newWallClock(),
		history: newHistory(),
		metrics: w.metrics.of(config.Name),
		log:     w.config.Logger.With().Str("component", "worker").Str("account", config.Name).Logger(),
		slots:   make(chan struct{}, rooms.Concurrency+rooms.Concurrency/aheadPart),
		calls:   make(chan struct{}, rooms.Concurrency),
		limiter: rate.NewLimiter(limit, max(1, int(rooms.Rate/burstPart))),
		quiet:   make(chan struct{}),
	}
	a.stop = a.close // until it runs
	a.breaker = newBreaker(a.log)
	a.free(cap(a.slots))
	return a
}

// run pulls until ctx ends, and returns when all that it pulled is settled and
// its facade is closed.
func (a *account) run(ctx, held context.Context, crew *crew) {
	defer a.close()
	var working sync.WaitGroup
	defer working.Wait()
	defer close(a.quiet)
	consumer := a.bind(ctx)
	for consumer != nil && ctx.Err() == nil {
		a.breaker.await(ctx)
		a.remind(time.Now())
		if time.Since(a.swept) > sweepEvery {
			a.sweep(held)
		}
		count := a.allow(ctx, a.reserve(ctx, !a.breaker.IsClosed()))
		if count == 0 {
			return
		}
		err := a.pull(consumer, count, func(msg jetstream.Msg) {
			a.allowed-- // without a rate nobody looks at it
			working.Add(1)
			crew.do(func() {
				defer working.Done()
				defer a.free(1)
				a.handle(ctx, held, msg)
			})
		})
		if err != nil {
			a.log.Warn().Err(err).Msg("pull failed")
			pause(ctx, pullBackoff)
			consumer = a.bind(ctx)
			a.swept = time.Time{} // the broker may have been another one since
		}
	}
}

// bind makes the account's consumer, and tries again until that works. It
// returns nil if ctx ended before.
func (a *account) bind(ctx context.Context) jetstream.Consumer {
	a.bound.Store(false)
	for failures := 1; ctx.Err() == nil; failures++ {
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		consumer, err := store.ProvisionConsumer(attempt, a.client.JetStream(), a.Name)
		cancel()
		if err == nil {
			a.bound.Store(true)
			return consumer
		}
		if failures&(failures-1) == 0 && ctx.Err() == nil { // ever more seldom
			a.log.Warn().Err(err).Int("failures", failures).Msg("consumer not bound")
		}
		pause(ctx, pullBackoff)
	}
	return nil
}

// reserve waits for free slots and takes them. A probe takes one, when all
// others are free: while the breaker is not closed, calls go singly.
func (a *account) reserve(ctx context.Context, probe bool) int {
	if probe {
		for taken := range cap(a.slots) {
			select {
			case <-a.slots:
			case <-ctx.Done():
				a.free(taken)
				return 0
			}
		}
		a.free(cap(a.slots) - 1)
		return 1
	}
	select {
	case <-a.slots:
	case <-ctx.Done():
		return 0
	}
	for count := 1; count < pullMost; count++ {
		select {
		case <-a.slots:
		default:
			return count
		}
	}
	return pullMost
}

// allow waits until a call may begin, and gives back the slots of those that may
// not yet.
func (a *account) allow(ctx context.Context, count int) int {
	if a.Auvious.Rate == 0 || count == 0 {
		return count
	}
	if a.allowed <= 0 {
		if a.limiter.Wait(ctx) != nil {
			a.free(count)
			return 0
		}
		a.allowed = 1
	}
	for a.allowed < count && a.limiter.Allow() {
		a.allowed++
	}
	granted := min(count, a.allowed)
	a.free(count - granted)
	return granted
}

// close closes the facade, if it can be.
func (a *account) close() {
	if facade, ok := a.Facade.(interface{ Close() }); ok {
		facade.Close()
	}
}

func (a *account) free(count int) {
	for range count {
		a.slots <- struct{}{}
	}
}

// pull asks for events and starts the work on each. It gives back the slots of
// those that did not come.
func (a *account) pull(consumer jetstream.Consumer, count int, start func(jetstream.Msg)) error {
	batch, err := consumer.Fetch(count, jetstream.FetchMaxWait(pullWait))
	if err != nil {
		a.free(count)
		return err
	}
	for msg := range batch.Messages() {
		count--
		start(msg)
	}
	a.free(count)
	return batch.Error()
}

// handle works on one event and settles it.
func (a *account) handle(ctx, held context.Context, msg jetstream.Msg) {
	release := a.hearts.hold(msg)
	defer release()
	a.metrics.inFlight.Inc()
	defer a.metrics.inFlight.Dec()

	meta, err := msg.Metadata()
	if err != nil {
		a.log.Error().Err(err).Msg("delivery without metadata") // not of a consumer
		return
	}
	past := a.history.hold(meta.Sequence.Stream, meta.Timestamp, time.Now())
	if past == nil {
		a.metrics.settled.WithLabelValues("already_held").Inc()
		return // whoever holds it settles it, for every delivery
	}
	defer a.history.release(meta.Sequence.Stream, past)
	job, err := a.open(msg, meta, past)
	if err == nil {
		err = errHandedBack
		if ctx.Err() == nil {
			job.stopping = ctx.Done()
			err = a.work(held, job)
		}
		if held.Err() != nil && err != nil && !final(err) {
			err = errHandedBack // it was this process that cut the work off
		}
	}
	if errors.Is(err, errHandedBack) {
		<-a.quiet // or the pull that is under way would bring it to us again
	}
	a.settle(job, err)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
