package worker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"roomlink/messages"
	"roomlink/worker/auvious"
)

// The bounds of the time until an event is tried again.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

var (
	// errHandedBack: this process stops before it could do the work.
	errHandedBack = errors.New("handed back")
	// errBadEvent: the event cannot be read.
	errBadEvent = errors.New("the event cannot be read")
)

// postponed says that the breaker opened before the call was made, which is no
// attempt.
type postponed struct{ until time.Duration }

// Error implements error.
func (p postponed) Error() string {
	return fmt.Sprintf("postponed for %v: the breaker is open", p.until)
}

// deadReason says whether an event becomes a dead letter, by its reason; "" if it
// is to be tried again.
func deadReason(err error, unknown, unknownRetries int, age, giveUpAfter time.Duration) string {
	var wait postponed
	switch {
	case errors.Is(err, errBadEvent):
		return messages.ReasonBadEvent
	case errors.Is(err, auvious.ErrRejected):
		return messages.ReasonRejected
	case errors.Is(err, auvious.ErrBadAnswer):
		return messages.ReasonBadAnswer
	case errors.Is(err, auvious.ErrUnknownOutcome) && unknown > unknownRetries:
		return messages.ReasonUnknownOutcome
	case errors.As(err, &wait):
		return "" // it was not tried
	case isCallError(err) && age >= giveUpAfter:
		return messages.ReasonExpired
	}
	return ""
}

// final reports a failure that no retry would mend.
func final(err error) bool {
	return errors.Is(err, errBadEvent) || errors.Is(err, auvious.ErrRejected) || errors.Is(err, auvious.ErrBadAnswer)
}

// isCallError tells a call that failed from a broker that did.
func isCallError(err error) bool {
	var failed *auvious.CallError
	return errors.As(err, &failed)
}

// retryDelay says how long an event waits after its n-th attempt, from 1:
// exponential with full jitter, at least what auvious asked for, at most
// [lastRetry].
func retryDelay(err error, attempt uint64) time.Duration {
	if wait, ok := errors.AsType[postponed](err); ok {
		return wait.until
	}
	ceiling := lastRetry
	if attempt < 7 { // 1 s, 2 s, … 32 s, then 60 s
		ceiling = firstRetry << (attempt - 1)
	}
	delay := rand.N(ceiling) + time.Millisecond
	if failed, ok := errors.AsType[*auvious.CallError](err); ok {
		delay = max(delay, failed.RetryAfter)
	}
	return min(delay, lastRetry)
}
