package worker

import (
	"context"
	"errors"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/worker/auvious"
)

const (
	// breakerThreshold is how many calls fail one after the other before a breaker
	// opens. Retries cope with fewer.
	breakerThreshold = 10
	// breakerDelay is how long an open breaker waits before it lets a call probe.
	breakerDelay = 3 * time.Second
)

// newBreaker returns the breaker of an account: closed, open, or half-open, when
// a single call probes.
func newBreaker(gauge prometheus.Gauge, log zerolog.Logger) circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(breakerThreshold).
		WithSuccessThreshold(1).
		WithDelay(breakerDelay).
		WithJitterFactor(0.2).
		OnStateChanged(func(change circuitbreaker.StateChangedEvent) {
			gauge.Set(breakerValue(change.NewState))
			line := log.Info()
			if change.NewState == circuitbreaker.OpenState && change.OldState == circuitbreaker.ClosedState {
				line = log.Error()
			}
			line.Stringer("breaker", change.NewState).Msg("breaker changed")
		}).
		Build()
}

// breakerValue is the state as a metric: 0 closed, 1 half-open, 2 open.
func breakerValue(state circuitbreaker.State) float64 {
	switch state {
	case circuitbreaker.OpenState:
		return 2
	case circuitbreaker.HalfOpenState:
		return 1
	default:
		return 0
	}
}

// awaitBreaker returns when the breaker would let a call through, or ctx ends.
func awaitBreaker(ctx context.Context, breaker circuitbreaker.CircuitBreaker[any]) {
	for breaker.IsOpen() && ctx.Err() == nil {
		remaining := breaker.RemainingDelay()
		if remaining <= 0 {
			return
		}
		pause(ctx, remaining)
	}
}

// record tells the breaker how a call went. What says nothing of auvious' health
// counts as a success, as auvious answered. A refused account opens the breaker
// at once: the next event would fare no better.
func record(breaker circuitbreaker.CircuitBreaker[any], err error) {
	switch {
	case errors.Is(err, auvious.ErrAccount):
		breaker.RecordFailure()
		breaker.Open()
	case errors.Is(err, auvious.ErrNotDone), errors.Is(err, auvious.ErrUnknownOutcome), isContextError(err):
		breaker.RecordFailure()
	default:
		breaker.RecordSuccess()
	}
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
