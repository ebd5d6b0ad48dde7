package worker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/rs/zerolog"
)

const (
	// breakerThreshold is the number of failures in a row that opens a breaker. Retries cope with fewer.
	breakerThreshold = 10
	// breakerDelay is the delay until an open breaker allows a probe.
	breakerDelay = 3 * time.Second
)

// breaker is the circuit breaker of an account. While it is half-open, it allows a single call as a probe.
type breaker struct {
	circuitbreaker.CircuitBreaker[any]

	// failure is the last failure; nil for none.
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

// value returns the state for the metric: 0 closed, 1 half-open, 2 open.
func (b *breaker) value() float64 {
	switch b.State() {
	case circuitbreaker.OpenState:
		return 2
	case circuitbreaker.HalfOpenState:
		return 1
	default:
		return 0
	}
}

// await waits until the breaker allows a call or ctx ends.
func (b *breaker) await(ctx context.Context) {
	for b.IsOpen() && ctx.Err() == nil {
		remaining := b.RemainingDelay()
		if remaining <= 0 {
			return
		}
		pause(ctx, remaining)
	}
}

// record records the effect of a call that ended with err.
func (b *breaker) record(effect effect, err error) {
	if effect == success {
		b.RecordSuccess()
		return
	}
	b.failure.Store(&err)
	b.RecordFailure()
	if effect == opens {
		b.Open()
	}
}
