package worker

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/rs/zerolog"

	"roomlink/internal/repeats"
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
	// opened is the time at which the breaker last left the state closed; 0 if it is closed. It is in nanoseconds of
	// Unix time.
	opened atomic.Int64

	log     zerolog.Logger
	repeats repeats.Lines
	// told is true if the log says that the breaker is open.
	told atomic.Bool
}

func newBreaker(log zerolog.Logger) *breaker {
	b := &breaker{log: log}
	b.CircuitBreaker = circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(breakerThreshold).
		WithSuccessThreshold(1).
		WithDelay(breakerDelay).
		WithJitterFactor(0.2).
		OnStateChanged(b.changed).
		Build()
	return b
}

// changed notes and logs a change of the state. An open breaker probes again and again: from level info on, it has one
// line a minute, and one when it closes.
func (b *breaker) changed(change circuitbreaker.StateChangedEvent) {
	line := b.log.Debug()
	switch now := time.Now(); change.NewState {
	case circuitbreaker.ClosedState:
		if opened := time.Unix(0, b.opened.Swap(0)); b.told.Swap(false) {
			line = b.log.Info().Int64("open_ms", now.Sub(opened).Milliseconds())
		}
	case circuitbreaker.OpenState:
		b.opened.CompareAndSwap(0, now.UnixNano())
		if told := b.repeats.Line(&b.log, zerolog.ErrorLevel, "open"); told != nil {
			line = told.Time("since", time.Unix(0, b.opened.Load()))
			b.told.Store(true)
		}
		if failure := b.failure.Load(); failure != nil {
			line = line.Err(*failure)
		}
	case circuitbreaker.HalfOpenState:
	}
	line.Stringer("breaker", change.NewState).Msg("breaker changed")
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

// openSince returns the time since which the breaker is not closed; zero if it is closed.
func (b *breaker) openSince() time.Time {
	if opened := b.opened.Load(); opened != 0 {
		return time.Unix(0, opened)
	}
	return time.Time{}
}

// reason returns the outcome of the last call that failed; "" for none.
func (b *breaker) reason() string {
	if failure := b.failure.Load(); failure != nil {
		return policyOf(*failure).label
	}
	return ""
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
