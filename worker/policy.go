package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"roomlink/internal/backoff"
	"roomlink/messages"
	"roomlink/worker/auvious"
)

var (
	// errBadEvent: the event breaks the contract.
	errBadEvent = errors.New("the event cannot be read")
	// errHandedBack: this process stopped before it could do the work.
	errHandedBack = errors.New("handed back")
	// errPostponed: the breaker opened before the call.
	errPostponed = errors.New("the breaker is open")
)

// postponedError is [errPostponed] with the delay until the breaker allows a call.
type postponedError struct{ delay time.Duration }

// Error implements error.
func (e postponedError) Error() string {
	return fmt.Sprintf("postponed for %v: %v", e.delay, errPostponed)
}

// Unwrap returns [errPostponed].
func (postponedError) Unwrap() error { return errPostponed }

// policy says what follows from an error.
type policy struct {
	// err is the error, as [errors.Is] finds it.
	err error
	// reason is the reason of the event's dead letter, and when says when the event becomes one. Until then, the worker
	// retries the event.
	reason string
	when   when
	// expires: after the give-up time, the event becomes a dead letter with the reason expired.
	expires bool
	// breaker is what the breaker records of a call.
	breaker effect
	// orphan is the cause in roomlink_orphans_possible_total; "" if the call left no room for sure.
	orphan string
	// label is the outcome of a call in roomlink_facade_calls_total; "" if the error is not the end of a call.
	label string
}

// when says when an event becomes a dead letter.
type when int

const (
	never when = iota
	atOnce
	// afterUnknownRetries: after more unknown outcomes than the account's unknown retries. Each may leave a room.
	afterUnknownRetries
)

// effect is what the breaker records of a call.
type effect int

const (
	noCall effect = iota
	success
	failure
	// opens is a failure that opens the breaker at once: the next call would fail, too.
	opens
)

// unknownOutcome is the label of calls that may have made a room, and the cause of these orphan rooms.
const unknownOutcome = "unknown_outcome"

// notDone is the label of calls that made no room but may be repeated.
const notDone = "not_done"

// policies is the one table of outcomes. For the breaker, a refused request is a success: auvious works.
var policies = []policy{
	// The ends of a call.
	{err: nil, breaker: success, label: "created"},
	{err: auvious.ErrRejected, reason: messages.ReasonRejected, when: atOnce, breaker: success, label: "rejected"},
	{err: auvious.ErrBadAnswer, reason: messages.ReasonBadAnswer, when: atOnce, breaker: success, label: "bad_answer"},
	{err: auvious.ErrAccount, expires: true, breaker: opens, label: "account_refused"},
	{err: auvious.ErrNotDone, expires: true, breaker: failure, label: notDone},
	{err: auvious.ErrBadGateway, expires: true, breaker: failure, orphan: "bad_gateway", label: notDone},
	{
		err: auvious.ErrUnknownOutcome, reason: messages.ReasonUnknownOutcome, when: afterUnknownRetries, expires: true,
		breaker: failure, orphan: unknownOutcome, label: unknownOutcome,
	},
	{err: context.Canceled, breaker: failure, label: notDone},
	{err: context.DeadlineExceeded, breaker: failure, label: notDone},

	// There was no call.
	{err: errBadEvent, reason: messages.ReasonBadEvent, when: atOnce},
	{err: errHandedBack},
	{err: errPostponed},
}

// otherPolicy is for all other errors: the broker's, which the worker retries without end. No call of
// [auvious.Client] returns one.
var otherPolicy = policy{breaker: success, label: notDone}

// policyOf returns the policy of an error.
func policyOf(err error) policy {
	for _, p := range policies {
		if errors.Is(err, p.err) {
			return p
		}
	}
	return otherPolicy
}

// deadLetterReason decides whether to retry an event. It returns "" for a retry, else the reason of the dead letter.
// unknown is the number of calls with an unknown outcome, and age the time since the event was stored.
func (a *account) deadLetterReason(err error, unknown int, age time.Duration) string {
	p := policyOf(err)
	switch {
	case p.when == atOnce, p.when == afterUnknownRetries && unknown > a.Auvious.UnknownRetries:
		return p.reason
	case p.expires && age >= a.Auvious.GiveUpAfter:
		return messages.ReasonExpired
	}
	return ""
}

// retryBackoff bounds the delay before a retry.
var retryBackoff = backoff.Backoff{Min: time.Second, Max: time.Minute}

// retryDelay returns the delay before the next attempt: exponential with full jitter, at least what auvious asked for,
// at most the maximum of [retryBackoff].
func retryDelay(err error, attempts uint64) time.Duration {
	if postponed, ok := errors.AsType[postponedError](err); ok {
		return postponed.delay
	}
	delay := rand.N(retryBackoff.Delay(attempts)) + time.Millisecond
	if failed, ok := errors.AsType[*auvious.CallError](err); ok {
		delay = max(delay, failed.RetryAfter)
	}
	return min(delay, retryBackoff.Max)
}
