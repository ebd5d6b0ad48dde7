// Package worker takes the events of conversations from the queue, makes a room for each, and stores its links.
//
// # Guarantees
//
// The worker acknowledges an event only after its links, or its dead letter, are stored. Before it calls auvious, it
// looks for stored links. So a second delivery of an event finds the work done. If two workers race, one stores its
// links and the other finds them. Every event ends in one set of links or in one dead letter. A room without stored
// links can remain, for example after a crash between auvious' answer and the broker's acknowledgement. The metric
// roomlink_orphans_possible_total counts these rooms.
//
// The worker pulls an event only for a free slot, and keeps the event alive while it works on it. If it cannot store
// links, it tries again until their ticket ends. While auvious fails or refuses an account, the account's breaker is
// open, and the worker pulls none of its events. Other accounts are not affected.
package worker

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/internal/accounts"
	"roomlink/internal/store"
	"roomlink/internal/telemetry"
	"roomlink/internal/tracing"
	"roomlink/worker/auvious"
)

// Facade makes rooms. If it has a Close method, the worker calls it after the last call. If it has an OnFailure method,
// as [auvious.Client] has, the worker counts the failures that it reports, and likewise OnFetch for access tokens.
type Facade interface {
	// CreateRoom makes one room. Its errors are those of [auvious.Client.CreateRoom].
	CreateRoom(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error)
	// TokenAge returns the age of the current access token; 0 if there is none.
	TokenAge() time.Duration
}

var _ Facade = (*auvious.Client)(nil)

// Account is an account and the facade that makes its rooms.
type Account struct {
	accounts.Account

	Facade Facade
}

// Config configures a [Worker].
type Config struct {
	Store *store.Store
	// Provisioner makes the consumers of the accounts; nil for the connection of the store.
	Provisioner jetstream.JetStream
	Accounts    []Account
	// Grace bounds the time for held events to finish after a stop.
	Grace  time.Duration
	Logger zerolog.Logger
	// Tracer continues the traces of the events; nil for none.
	Tracer *tracing.Tracer
	// Registerer registers the metrics; nil for none.
	Registerer prometheus.Registerer
	// Labels are the labels of the accounts in the metrics; nil for their names.
	Labels *telemetry.AccountLabels
}

// Worker works on the events of its accounts. It is also a [prometheus.Collector]: of the ages of its access tokens, of
// its breakers and of its calls.
type Worker struct {
	config  Config
	metrics *metrics
	shared  shared

	mu       sync.Mutex
	accounts map[string]*account
	// running is nil before [Worker.Run] and after its stop.
	running *running
}

// running is the state of one [Worker.Run].
type running struct {
	// ctx ends the pulls, and held ends the work on held events. Accounts that come later need them, too.
	ctx, held context.Context //nolint:containedctx // see above
	// accounts waits for the accounts, and for what looks for consumers of accounts that are gone.
	accounts sync.WaitGroup
}

// New returns a worker. Its errors are those of [Worker.SetAccounts].
func New(config Config) (*Worker, error) {
	if config.Provisioner == nil {
		config.Provisioner = config.Store.JetStream()
	}
	w := &Worker{
		config:   config,
		metrics:  newMetrics(config.Registerer, config.Labels),
		shared:   shared{requests: make(chan struct{}, maxRequests)},
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

// SetAccounts replaces the accounts. It starts new accounts, stops removed ones, and does both for changed ones. An
// account that stops finishes the events that it holds. SetAccounts returns an error, and changes nothing, if an
// account has an invalid setting, has no facade or occurs twice.
func (w *Worker) SetAccounts(all []Account) error {
	wanted := map[string]Account{}
	for _, a := range all {
		if err := cmp.Or(a.Check(), a.Auvious.CheckRooms()); err != nil {
			return fmt.Errorf("account %q: %w", a.Name, err)
		}
		if _, twice := wanted[a.Name]; twice || a.Facade == nil {
			return fmt.Errorf("account %q: want it once and with a facade", a.Name)
		}
		wanted[a.Name] = a
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shared.accounts.Store(int64(len(wanted)))
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

// same reports whether two accounts are equal. Accounts whose facades cannot be compared are not equal.
func same(a, b Account) bool {
	for _, facade := range []Facade{a.Facade, b.Facade} {
		if facade != nil && !reflect.ValueOf(facade).Comparable() {
			return false
		}
	}
	return a.Name == b.Name && a.Facade == b.Facade && reflect.DeepEqual(a.Auvious, b.Auvious) &&
		reflect.DeepEqual(a.Links, b.Links)
}

// launch starts an account if the worker runs.
func (w *Worker) launch(a *account) {
	r := w.running
	if r == nil {
		return
	}
	ctx, stop := context.WithCancel(r.ctx)
	a.stop = stop
	r.accounts.Go(func() {
		defer stop()
		a.run(ctx, r.held)
	})
}

// Run works until the context ends. Then it stops pulling, lets held events finish within the grace time, hands the
// others back, and returns nil.
func (w *Worker) Run(ctx context.Context) error {
	// The work on held events outlives ctx by the grace time.
	held, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	stopGrace := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(w.config.Grace, release)
		context.AfterFunc(held, func() { timer.Stop() })
	})
	defer stopGrace()

	r := &running{ctx: ctx, held: held}
	w.mu.Lock()
	w.running = r
	for _, a := range w.accounts {
		w.launch(a)
	}
	w.mu.Unlock()
	r.accounts.Go(func() { w.removeGone(ctx) })

	<-ctx.Done()
	w.mu.Lock()
	w.running = nil
	w.mu.Unlock()
	r.accounts.Wait()
	return nil
}

// Ready returns nil if the consumers of all accounts are bound, else an error that names one that is not.
func (w *Worker) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.accounts {
		if !a.bound.Load() {
			return fmt.Errorf("consumer %q is not bound", store.ConsumerName(a.Name))
		}
	}
	return nil
}
