// Package worker takes the events of conversations out of the queue, has a room
// made for each, and stores its links.
//
// # Guarantees
//
// An event is acknowledged only after its links, or its dead letter, are stored.
// Before it calls auvious, a worker reads the links that are there: an event
// that is delivered again finds its work done. Of two workers that raced, one
// stores its links and the other finds them. So every event ends in one set of
// links or one dead letter; only a crash between auvious' answer and the broker's
// acknowledgement leaves a room that nobody uses, and those are counted.
//
// An event is pulled only for a free slot and kept alive while it is held. Links that
// cannot be stored are held until they can, or their ticket ends.
// While auvious is down, or does not let an account in, that account's breaker is
// open and nothing of it is pulled; other accounts go on.
package worker

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/internal/accounts"
	"roomlink/internal/store"
	"roomlink/worker/auvious"
)

// Facade makes rooms.
type Facade interface {
	// CreateRoom has one room made. Its errors are those of
	// [auvious.Client.CreateRoom].
	CreateRoom(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error)
	// TokenAge is how old the access token in use is; 0 if there is none.
	TokenAge() time.Duration
}

var _ Facade = (*auvious.Client)(nil)

// Account is an account and the facade that makes its rooms.
type Account struct {
	accounts.Account

	Facade Facade
}

// Config makes a [Worker].
type Config struct {
	Client   *store.Store
	Accounts []Account
	// Grace bounds the time for held events to finish after a stop.
	Grace  time.Duration
	Logger zerolog.Logger
	// Registerer takes the metrics; nil for none.
	Registerer prometheus.Registerer
}

// Worker works on the events of its accounts. It is also a
// [prometheus.Collector], of the age of its access tokens and the state of its
// breakers.
type Worker struct {
	config  Config
	client  *store.Store
	hearts  *hearts
	metrics *metrics

	mu       sync.Mutex
	accounts map[string]*account
	// running is nil before [Worker.Run] and once it stops.
	running *running
}

// running is what the accounts of a worker run in.
type running struct {
	// ctx ends the pulling, held the work on what was pulled.
	ctx, held context.Context //nolint:containedctx // that of Run, for accounts that come later
	crew      *crew
	group     sync.WaitGroup
}

// New checks a configuration. It returns the errors of [Worker.SetAccounts].
func New(config Config) (*Worker, error) {
	w := &Worker{
		config:   config,
		client:   config.Client,
		hearts:   newHearts(),
		metrics:  newMetrics(config.Registerer),
		accounts: map[string]*account{},
	}
	if err := w.SetAccounts(config.Accounts); err != nil {
		return nil, err
	}
	if config.Registerer != nil {
		config.Registerer.MustRegister(w)
	}
	return w, nil
}

// SetAccounts replaces the accounts: new ones begin, those that are gone stop
// pulling and finish what they hold, changed ones do both, and the others go on.
// The facade of an account that stops is closed after its last call, if it has a
// Close method. It returns an error, and changes nothing, for an account that is
// named wrongly or twice, or has no facade.
func (w *Worker) SetAccounts(all []Account) error {
	wanted := map[string]Account{}
	for _, a := range all {
		if err := cmp.Or(a.Check(), a.Auvious.CheckRooms()); err != nil {
			return fmt.Errorf("account %q: %w", a.Name, err)
		}
		if _, twice := wanted[a.Name]; twice || a.Facade == nil {
			return fmt.Errorf("account %q: want it once, and with a facade", a.Name)
		}
		wanted[a.Name] = a
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, old := range w.accounts {
		if !same(wanted[name], old.Account) {
			old.stop()
			delete(w.accounts, name)
		}
		if _, stays := wanted[name]; !stays {
			w.metrics.forget(name)
		}
	}
	for name, config := range wanted {
		if w.accounts[name] == nil {
			w.accounts[name] = newAccount(config, w)
			w.launch(w.accounts[name])
		}
	}
	return nil
}

// same reports whether two accounts are configured alike. Facades that cannot be
// compared are other ones.
func same(a, b Account) bool {
	for _, facade := range []Facade{a.Facade, b.Facade} {
		if facade != nil && !reflect.ValueOf(facade).Comparable() {
			return false
		}
	}
	return a.Name == b.Name && a.Facade == b.Facade && reflect.DeepEqual(a.Auvious, b.Auvious)
}

// launch begins the work of an account, if the worker runs.
func (w *Worker) launch(a *account) {
	r := w.running
	if r == nil {
		return
	}
	ctx, stop := context.WithCancel(r.ctx)
	a.stop = stop
	r.group.Go(func() {
		defer stop()
		a.run(ctx, r.held, r.crew)
	})
}

// Run works until the context ends. Then it pulls no more, lets what it holds
// finish within the grace time, hands back the rest, and returns nil.
func (w *Worker) Run(ctx context.Context) error {
	// What is held outlives ctx by the grace time.
	held, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	stopGrace := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(w.config.Grace, release)
		context.AfterFunc(held, func() { timer.Stop() })
	})
	defer stopGrace()

	beating, stopBeating := context.WithCancel(context.WithoutCancel(ctx))
	var hearts sync.WaitGroup
	hearts.Go(func() { w.hearts.run(beating) })
	r := &running{ctx: ctx, held: held, crew: newCrew()}
	w.mu.Lock()
	w.running = r
	for _, a := range w.accounts {
		w.launch(a)
	}
	w.mu.Unlock()

	<-ctx.Done()
	w.mu.Lock()
	w.running = nil
	w.mu.Unlock()
	r.group.Wait()
	r.crew.close()
	stopBeating()
	hearts.Wait()
	return nil
}

// Ready returns nil once the consumer of every account is bound, else an error
// that names one that is not.
func (w *Worker) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.accounts {
		if !a.bound.Load() {
			return fmt.Errorf("the consumer %q is not bound", store.ConsumerName(a.Name))
		}
	}
	return nil
}

// Describe implements [prometheus.Collector].
func (w *Worker) Describe(out chan<- *prometheus.Desc) {
	out <- tokenAge
	out <- breakerState
}

// Collect implements [prometheus.Collector].
func (w *Worker) Collect(out chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, a := range w.accounts {
		out <- prometheus.MustNewConstMetric(tokenAge, prometheus.GaugeValue, a.Facade.TokenAge().Seconds(), name)
		out <- prometheus.MustNewConstMetric(breakerState, prometheus.GaugeValue, breakerValue(a.breaker.State()), name)
	}
}
