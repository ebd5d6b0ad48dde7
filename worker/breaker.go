package worker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
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

// breaker is that of an account: closed, open, or half-open, when a single call
// probes.
type breaker struct {
	circuitbreaker.CircuitBreaker[any]

	// failure is how the last call failed that did; nil if none did.
	failure atomic.Pointer[error]
}

func newBreaker(log zerolog.Logger) *breaker {
	b := &breaker{}
	b.CircuitBreaker = circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(breakerThreshold).
		WithSuccessThreshold(1).
		WithDelay(breakerDelay).
		WithJitterFactor(0.2).
		OnStateChanged(func(change circuitbreaker.StateChangedEvent) {
			line := log.Info()
			if change.NewState == circuitbreaker.OpenState && change.OldState == circuitbreaker.ClosedState {
				line = log.Error()
			}
			if failure := b.failure.Load(); failure != nil && change.NewState == circuitbreaker.OpenState {
				line.Err(*failure)
			}
			line.Stringer("breaker", change.NewState).Msg("breaker changed")
		}).
		Build()
	return b
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

// await returns when the breaker would let a call through, or ctx ends.
func (b *breaker) await(ctx context.Context) {
	for b.IsOpen() && ctx.Err() == nil {
		remaining := b.RemainingDelay()
		if remaining <= 0 {
			return
		}
		pause(ctx, remaining)
	}
}

// record tells the breaker how a call went. What says nothing of auvious' health
// counts as a success, as auvious answered. A refused account opens the breaker
// at once: the next event would fare no better.
func (b *breaker) record(err error) {
	refused := errors.Is(err, auvious.ErrAccount)
	if !refused && !errors.Is(err, auvious.ErrNotDone) && !errors.Is(err, auvious.ErrUnknownOutcome) && !isContextError(err) {
		b.RecordSuccess()
		return
	}
	b.failure.Store(&err)
	b.RecordFailure()
	if refused {
		b.Open()
	}
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
