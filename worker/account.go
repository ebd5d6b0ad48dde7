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

	"roomlink/internal/accounts"
	"roomlink/internal/repeats"
	"roomlink/internal/store"
	"roomlink/internal/tracing"
	"roomlink/worker/auvious"
)

const (
	// minPullTimeout and maxPullTimeout bound a pull. A stop waits for the running pull, or the broker would deliver
	// events to a stopped worker. From 10 s on, the client of NATS would ask for heartbeats.
	minPullTimeout = time.Second
	maxPullTimeout = 8 * time.Second
	// pullTimeoutPerAccount is the share of an account in the time of a pull. A pull that finds no event costs the broker
	// about 0.1 ms, so all accounts together pull at most 1,000 times a second.
	pullTimeoutPerAccount = time.Millisecond
	// maxRequests bounds the requests that the accounts make at once to bind their consumers and to look for stuck
	// events. After a start every account makes them, and the broker drops its requests if 10,000 wait.
	maxRequests = 8
	// maxPull bounds the events of one pull.
	maxPull = 128
	// pullRetryDelay is the delay after a failed pull, and between two attempts to bind the consumer.
	pullRetryDelay = time.Second
	// burstDivisor divides an account's rate. The quotient is the number of calls that may begin at once.
	burstDivisor = 10
	// callsPerExtraSlot is the number of calls for which there is one extra slot. The events in extra slots are looked up
	// or acknowledged while all calls run.
	callsPerExtraSlot = 8
	// requestTimeout bounds one request to the broker.
	requestTimeout = 5 * time.Second
)

// shared is what the accounts of a worker share.
type shared struct {
	// requests contains a token for each of the requests that [maxRequests] bounds.
	requests chan struct{}
	// accounts is the number of accounts.
	accounts atomic.Int64
}

// inTurn waits until fewer than [maxRequests] requests are under way, and then sends one. The request ends within
// [requestTimeout]. inTurn returns its error, or that of ctx.
func (s *shared) inTurn(ctx context.Context, send func(context.Context) error) error {
	select {
	case s.requests <- struct{}{}:
		defer func() { <-s.requests }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return send(ctx)
}

// pullTimeout returns the time after which a pull without events ends.
func (s *shared) pullTimeout() time.Duration {
	return min(max(minPullTimeout, time.Duration(s.accounts.Load())*pullTimeoutPerAccount), maxPullTimeout)
}

// account pulls the events of one account and works on them.
type account struct {
	Account
	shared *shared
	store  *store.Store
	// provisioner makes the consumer.
	provisioner jetstream.JetStream
	tracer      *tracing.Tracer
	breaker     *breaker
	clock       wallClock
	deliveries  *deliveries
	metrics     accountMetrics
	log         zerolog.Logger
	// repeats bounds the log lines of retries and of failed pulls.
	repeats repeats.Lines

	// expectedHosts are the hosts that links are expected on.
	expectedHosts accounts.LinkHosts
	loggedHosts   loggedHosts

	// slots contains a token for each further event that may be held. calls contains one for each job that calls
	// auvious or stores its links.
	slots, calls chan struct{}
	// limiter bounds the calls per second. allowed is the number of calls that it granted and that no event used yet.
	limiter *rate.Limiter
	allowed int
	bound   atomic.Bool

	// swept is the time of the last sweep.
	swept time.Time
	// stop ends the work of this account. The lock of the worker protects it.
	stop func()
	// quiet is closed after the last pull.
	quiet chan struct{}
}

func newAccount(config Account, w *Worker) *account {
	rooms, limit := config.Auvious, rate.Inf
	if rooms.Rate > 0 {
		limit = rate.Limit(rooms.Rate)
	}
	a := &account{
		Account:     config,
		shared:      &w.shared,
		store:       w.config.Store,
		provisioner: w.config.Provisioner,
		tracer:      w.config.Tracer,
		clock:       wallClock{time.Now()},
		deliveries:  newDeliveries(),
		metrics:     w.metrics.of(config.Name),
		log:         w.config.Logger.With().Str("component", "worker").Str("account", config.Name).Logger(),
		slots:       make(chan struct{}, rooms.Concurrency+rooms.Concurrency/callsPerExtraSlot),
		calls:       make(chan struct{}, rooms.Concurrency),
		limiter:     rate.NewLimiter(limit, max(1, int(rooms.Rate/burstDivisor))),
		quiet:       make(chan struct{}),

		expectedHosts: config.Auvious.ExpectedHosts(),
	}
	a.stop = a.close // until it runs
	a.breaker = newBreaker(a.log)
	a.free(cap(a.slots))
	if facade, ok := a.Facade.(interface {
		OnFailure(observer func(failed *auvious.CallError, told bool))
	}); ok {
		facade.OnFailure(a.observe)
	}
	if facade, ok := a.Facade.(interface {
		OnFetch(observer func(fetched bool))
	}); ok {
		facade.OnFetch(func(fetched bool) {
			outcome := "failed"
			if fetched {
				outcome = "fetched"
			}
			a.metrics.fetches.WithLabelValues(outcome).Inc()
		})
	}
	return a
}

// observe counts a failed call of an endpoint. It logs the failure if no delivery of an event ends with it.
func (a *account) observe(failed *auvious.CallError, told bool) {
	a.metrics.failures.WithLabelValues(string(failed.Endpoint), string(failed.Cause)).Inc()
	if failed.Endpoint == auvious.RoomEndpoint {
		a.metrics.answers.WithLabelValues(statusClass(failed.Status)).Inc()
	}
	switch {
	case told:
	case failed.Endpoint == auvious.TokenEndpoint:
		a.repeats.Line(&a.log, zerolog.WarnLevel, "renewal").Err(failed).Msg("access token not renewed yet")
	default:
		a.repeats.Line(&a.log, zerolog.WarnLevel, "refusal").Err(failed).Msg("access token refused: fetching another")
	}
}

// run pulls until ctx ends. It returns after every pulled event is settled and the facade is closed. The jobs end
// with held at the latest.
func (a *account) run(ctx, held context.Context) {
	defer a.close()
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	var keepalive, jobs sync.WaitGroup
	keepalive.Go(func() { a.deliveries.keepAlive(alive) })
	defer keepalive.Wait()
	defer stop()
	defer jobs.Wait()
	defer close(a.quiet)
	consumer := a.bind(ctx)
	for consumer != nil && ctx.Err() == nil {
		a.breaker.await(ctx)
		a.renak(time.Now())
		if time.Since(a.swept) > sweepInterval {
			a.sweep(ctx, held)
		}
		count := a.allow(ctx, a.reserve(ctx, !a.breaker.IsClosed()))
		if count == 0 {
			return
		}
		err := a.pull(consumer, count, func(msg jetstream.Msg) {
			jobs.Go(func() { a.handle(ctx, held, msg) })
		})
		if err != nil {
			a.repeats.Line(&a.log, zerolog.WarnLevel, "pull").Err(a.store.Explain(err)).Msg("pull failed")
			pause(ctx, pullRetryDelay)
			consumer = a.bind(ctx)
			a.swept = time.Time{} // the broker may be another one now
		}
	}
}

// bind provisions the account's consumer, and tries until that succeeds. It returns nil if ctx ended before.
func (a *account) bind(ctx context.Context) jetstream.Consumer {
	a.bound.Store(false)
	for failures := 1; ctx.Err() == nil; failures++ {
		var consumer jetstream.Consumer
		err := a.shared.inTurn(ctx, func(ctx context.Context) (err error) {
			consumer, err = a.store.Consumer(ctx, a.provisioner, a.Name)
			return err
		})
		if err == nil {
			a.bound.Store(true)
			return consumer
		}
		if failures&(failures-1) == 0 && ctx.Err() == nil { // the powers of two: less and less often
			a.log.Warn().Err(a.store.Explain(err)).Int("failures", failures).Msg("consumer not bound")
		}
		pause(ctx, pullRetryDelay)
	}
	return nil
}

// reserve waits for free slots and takes them. It returns their number; 0 if ctx ended before. A probe takes one slot
// when all others are free, so its call is the only one.
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
	for count := 1; count < maxPull; count++ {
		select {
		case <-a.slots:
		default:
			return count
		}
	}
	return maxPull
}

// allow waits until a call may begin. It returns the number of calls that may begin, and frees the other slots.
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

// close closes the facade if it has a Close method.
func (a *account) close() {
	if facade, ok := a.Facade.(interface{ Close() }); ok {
		facade.Close()
	}
}

// free returns slots.
func (a *account) free(count int) {
	for range count {
		a.slots <- struct{}{}
	}
}

// pull asks for events and passes each to start. It frees the slots of events that did not come.
func (a *account) pull(consumer jetstream.Consumer, count int, start func(jetstream.Msg)) error {
	batch, err := consumer.Fetch(count, jetstream.FetchMaxWait(a.shared.pullTimeout()))
	if err != nil {
		a.free(count)
		return err
	}
	for msg := range batch.Messages() {
		count--
		a.allowed-- // without a rate, nobody reads it
		start(msg)
	}
	a.free(count)
	return batch.Error()
}

// handle works on one delivery, settles it and frees its slot.
func (a *account) handle(ctx, held context.Context, msg jetstream.Msg) {
	defer a.free(1)
	a.metrics.inFlight.Inc()
	defer a.metrics.inFlight.Dec()
	meta, err := msg.Metadata()
	if err != nil {
		a.log.Error().Err(err).Msg("delivery without metadata") // it came from no consumer
		return
	}
	j := &job{
		msg: msg, meta: meta, subject: msg.Subject(), data: msg.Data(), began: time.Now(), stopping: ctx.Done(),
	}
	if !a.deliveries.hold(j) {
		a.metrics.settled.WithLabelValues("already_held").Inc()
		return // the job that holds the event settles it, for every delivery
	}
	defer a.deliveries.release(j)
	err = j.decode()
	if err == nil && ctx.Err() != nil {
		err = errHandedBack
	}
	if err == nil {
		working, span := a.trace(held, j)
		err = a.work(working, j)
		a.endTrace(span, j, err)
	}
	if err != nil && held.Err() != nil && policyOf(err).when != atOnce {
		err = errHandedBack // the stop of this process interrupted the work
	}
	if errors.Is(err, errHandedBack) {
		<-a.quiet // the running pull would deliver the event to this process again
	}
	a.settle(j, err)
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
