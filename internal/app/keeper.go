package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/store"
	"roomlink/worker"
)

const (
	keepInterval = time.Second
	keepTimeout  = 5 * time.Second
	// consumersInterval is longer, because there may be thousands of consumers.
	consumersInterval = 10 * time.Second
	// missingTimeout is how long an external broker must say that a stream does not exist
	// before roomlink makes it again. A cluster that starts may say so by mistake. The
	// embedded broker knows, but its workers tell new events from old ones by that time.
	missingTimeout         = 5 * time.Second
	missingTimeoutEmbedded = worker.ReplaceTime
)

// keeper inspects the streams that this process needs, and the consumers of its workers. It
// reports what others changed, and makes streams again that somebody deleted.
type keeper struct {
	// store is on a connection that may make streams.
	store    *store.Store
	broker   *broker.Broker
	settings store.StreamSettings
	accounts func() []string
	log      zerolog.Logger
	faults   *prometheus.GaugeVec

	mu      sync.Mutex
	streams []string
	// works is true if a worker runs in this process.
	works bool

	// known has the fault of each object, missing when a stream was first missed, and
	// inspected when the consumers were. Only run uses them.
	known     map[string]string
	missing   map[string]time.Time
	inspected time.Time
}

// newKeeper returns a keeper on a connection that may inspect and make streams.
func (a *App) newKeeper(js jetstream.JetStream, settings store.StreamSettings) *keeper {
	explanation := store.WithExplanation(func(err error) error { return a.broker.Explain(js, err) })
	return &keeper{
		store: store.New(js, explanation), broker: a.broker, settings: settings,
		accounts: a.accounts.names, log: a.log.With().Str("component", "broker").Logger(),
		faults: promauto.With(a.registry).NewGaugeVec(prometheus.GaugeOpts{
			Name: "roomlink_broker_misconfigured",
			Help: "1 if a stream or a consumer is missing, sealed, paused or configured otherwise than roomlink needs; else 0. " +
				"A line of the log says what to do. Take the maximum over processes.",
		}, []string{"object"}),
		known: map[string]string{}, missing: map[string]time.Time{},
	}
}

// need adds streams that this process needs. works is true for a worker's.
func (k *keeper) need(works bool, streams ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.works = k.works || works
	for _, name := range streams {
		if !slices.Contains(k.streams, name) {
			k.streams = append(k.streams, name)
			k.faults.WithLabelValues(name).Set(0)
		}
	}
	if k.works {
		for _, account := range k.accounts() {
			k.faults.WithLabelValues(store.ConsumerName(account)).Set(0)
		}
	}
}

func (k *keeper) needs() (streams []string, works bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.streams), k.works
}

// ready returns nil if the streams that this process needs are there and take messages.
func (k *keeper) ready(ctx context.Context) error {
	streams, _ := k.needs()
	for _, name := range streams {
		if err := k.store.CheckStream(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) run(ctx context.Context) error {
	ticker := time.NewTicker(keepInterval)
	defer ticker.Stop()
	for {
		if err := k.check(ctx); err != nil && ctx.Err() == nil {
			clear(k.missing) // only a healthy broker knows that a stream is gone
			k.log.Debug().Err(err).Msg("streams not inspected")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (k *keeper) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	if err := k.broker.Health(); err != nil {
		return err
	}
	streams, works := k.needs()
	found, err := k.inspect(ctx, streams, works)
	if err != nil {
		return err
	}
	for _, name := range found.Missing {
		found.Faults[name] = k.remake(ctx, name, works)
	}
	maps.DeleteFunc(k.missing, func(name string, _ time.Time) bool { return !slices.Contains(found.Missing, name) })
	k.report(found.Faults)
	return nil
}

// inspect inspects streams, and from time to time the consumers of workers.
func (k *keeper) inspect(ctx context.Context, streams []string, works bool) (store.Inspection, error) {
	if !works {
		return k.store.Inspect(ctx, streams, nil)
	}
	if time.Since(k.inspected) >= consumersInterval {
		k.inspected = time.Now()
		return k.store.Inspect(ctx, streams, k.accounts())
	}
	found, err := k.store.Inspect(ctx, streams, nil)
	for _, account := range k.accounts() {
		consumer := store.ConsumerName(account)
		found.Faults[consumer] = k.known[consumer]
	}
	return found, err
}

// remake makes a missing stream again if somebody has deleted it. It returns "" if that is done,
// else why not.
func (k *keeper) remake(ctx context.Context, name string, works bool) (fault string) {
	since, known := k.missing[name]
	if !known {
		since = time.Now()
		k.missing[name] = since
	}
	after := missingTimeoutEmbedded
	if !k.broker.Embedded() {
		after = missingTimeout
	}
	switch {
	case !works && !k.broker.Embedded():
		return "is missing: a worker makes it again, or a start of roomlink"
	case !k.broker.MayRemake(name):
		return "is missing: if you did not delete it just now, restore the data directory from a copy, " +
			"or restart roomlink to begin with an empty stream"
	case time.Since(since) < after:
		return "is missing: roomlink makes it again within seconds"
	}
	if err := store.ProvisionStream(ctx, k.store.JetStream(), k.settings, name); err != nil {
		return fmt.Sprintf("is missing, and cannot be made again: %v", k.store.Explain(err))
	}
	k.log.Warn().Str("object", name).Msg("stream was deleted: made it again")
	return ""
}

// report logs the faults that are new and sets the metric.
func (k *keeper) report(faults map[string]string) {
	for object, fault := range faults {
		switch fault {
		case k.known[object]:
		case "":
			k.log.Info().Str("object", object).Msg("stream or consumer is as it should be again")
		default:
			k.log.Error().Str("object", object).Str("fault", fault).Msg("stream or consumer is not as roomlink needs it")
		}
		value := 0.0
		if fault != "" {
			value = 1
		}
		k.faults.WithLabelValues(object).Set(value)
	}
	for object := range k.known {
		if _, stays := faults[object]; !stays {
			k.faults.DeleteLabelValues(object)
		}
	}
	k.known = faults
}
