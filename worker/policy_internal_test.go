package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker/auvious"
)

// callError returns a failed call as the facade reports it.
func callError(kind auvious.Kind) error { return &auvious.CallError{Kind: kind, Detail: "invented"} }

// TestPoliciesAreComplete: every kind of auvious has exactly one row. Each row of a call has a label and an effect on
// the breaker, and each row of a dead letter has a reason.
func TestPoliciesAreComplete(t *testing.T) {
	t.Parallel()
	for _, kind := range auvious.Kinds() {
		rows := slices.DeleteFunc(slices.Clone(policies), func(p policy) bool { return !errors.Is(p.err, kind) })
		if len(rows) != 1 || rows[0].label == "" {
			t.Errorf("kind %q: got rows %+v, want one row with a label", kind, rows)
		}
		if got := policyOf(callError(kind)); !errors.Is(got.err, kind) {
			t.Errorf("policy of a call error of kind %q: got that of %v, want that of the kind", kind, got.err)
		}
	}
	for _, p := range append(slices.Clone(policies), otherPolicy) {
		if (p.label == "") != (p.breaker == noCall) || (p.reason == "") != (p.when == never) {
			t.Errorf("policy %+v: got half of a pair, want a label with an effect, and a reason with its time", p)
		}
	}
}

// TestPolicies compares the whole table.
func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want policy
	}{
		{nil, policy{breaker: success, label: "created"}},
		{callError(auvious.ErrRejected), policy{reason: "rejected", when: atOnce, breaker: success, label: "rejected"}},
		{callError(auvious.ErrBadAnswer), policy{reason: "bad_answer", when: atOnce, breaker: success, label: "bad_answer"}},
		{callError(auvious.ErrAccount), policy{expires: true, breaker: opens, label: "account_refused"}},
		{callError(auvious.ErrNotDone), policy{expires: true, breaker: failure, label: "not_done"}},
		{callError(auvious.ErrBadGateway), policy{expires: true, breaker: failure, orphan: "bad_gateway", label: "not_done"}},
		{callError(auvious.ErrUnknownOutcome), policy{
			reason: "unknown_outcome", when: afterUnknownRetries, expires: true, breaker: failure,
			orphan: "unknown_outcome", label: "unknown_outcome",
		}},
		{context.Canceled, policy{breaker: failure, label: "not_done"}},
		{context.DeadlineExceeded, policy{breaker: failure, label: "not_done"}},
		{errBadEvent, policy{reason: "bad_event", when: atOnce}},
		{errHandedBack, policy{}},
		{postponedError{time.Second}, policy{}},
		{store.ErrSuperseded, policy{breaker: success, label: "not_done"}},
		{errors.New("no responders"), policy{breaker: success, label: "not_done"}},
	} {
		got := policyOf(test.err)
		got.err = nil
		if got != test.want {
			t.Errorf("policy of %v: got %+v, want %+v", test.err, got, test.want)
		}
	}
}

func TestDeadLetterReason(t *testing.T) {
	t.Parallel()
	a := &account{}
	const giveUp = 15 * time.Minute
	a.Auvious.GiveUpAfter, a.Auvious.UnknownRetries = giveUp, 3
	for _, test := range []struct {
		name    string
		err     error
		unknown int
		age     time.Duration
		want    string
	}{
		{"bad event", fmt.Errorf("%w: no JSON", errBadEvent), 0, 0, messages.ReasonBadEvent},
		{"rejected", callError(auvious.ErrRejected), 0, 0, messages.ReasonRejected},
		{"rejected late", callError(auvious.ErrRejected), 0, giveUp, messages.ReasonRejected},
		{"bad answer", callError(auvious.ErrBadAnswer), 0, 0, messages.ReasonBadAnswer},
		{"bad answer late", callError(auvious.ErrBadAnswer), 0, giveUp, messages.ReasonBadAnswer},
		{"not done", callError(auvious.ErrNotDone), 0, giveUp - 1, ""},
		{"not done late", callError(auvious.ErrNotDone), 0, giveUp, messages.ReasonExpired},
		{"bad gateway", callError(auvious.ErrBadGateway), 9, giveUp - 1, ""},
		{"bad gateway late", callError(auvious.ErrBadGateway), 0, giveUp, messages.ReasonExpired},
		{"account", callError(auvious.ErrAccount), 0, giveUp - 1, ""},
		{"account late", callError(auvious.ErrAccount), 0, giveUp, messages.ReasonExpired},
		{"unknown once", callError(auvious.ErrUnknownOutcome), 1, 0, ""},
		{"unknown as often as allowed", callError(auvious.ErrUnknownOutcome), 3, 0, ""},
		{"unknown more often", callError(auvious.ErrUnknownOutcome), 4, 0, messages.ReasonUnknownOutcome},
		{"unknown late", callError(auvious.ErrUnknownOutcome), 1, giveUp, messages.ReasonExpired},
		{"not done after many unknown", callError(auvious.ErrNotDone), 4, 0, ""},
		{"postponed", postponedError{time.Second}, 0, 0, ""},
		{"postponed late", postponedError{time.Second}, 9, giveUp, ""},
		{"handed back late", errHandedBack, 9, giveUp, ""},
		{"broker", store.ErrSuperseded, 0, 0, ""},
		{"broker late", errors.New("no responders"), 9, giveUp, ""},
		{"context", context.DeadlineExceeded, 0, giveUp, ""},
		{"wrapped", fmt.Errorf("calling: %w", callError(auvious.ErrRejected)), 0, 0, messages.ReasonRejected},
	} {
		if got := a.deadLetterReason(test.err, test.unknown, test.age); got != test.want {
			t.Errorf("%s: got reason %q, want %q", test.name, got, test.want)
		}
	}
}

// TestRetryDelay draws each random delay many times and compares the bounds.
func TestRetryDelay(t *testing.T) {
	t.Parallel()
	after := func(d time.Duration) error { return &auvious.CallError{Kind: auvious.ErrNotDone, RetryAfter: d} }
	for _, test := range []struct {
		name     string
		err      error
		attempts uint64
		min, max time.Duration
	}{
		{"first", after(0), 1, time.Millisecond, time.Second},
		{"second", after(0), 2, time.Millisecond, 2 * time.Second},
		{"sixth", after(0), 6, time.Millisecond, 32 * time.Second},
		{"seventh", after(0), 7, time.Millisecond, time.Minute},
		{"after very many", after(0), 1 << 40, time.Millisecond, time.Minute},
		{"Retry-After above", after(30 * time.Second), 1, 30 * time.Second, 30 * time.Second},
		{"Retry-After above the maximum", after(time.Hour), 1, time.Minute, time.Minute},
		{"Retry-After below", after(time.Millisecond), 3, time.Millisecond, 4 * time.Second},
		{"postponed", postponedError{7 * time.Second}, 40, 7 * time.Second, 7 * time.Second},
		{"broker", errors.New("no responders"), 1, time.Millisecond, time.Second},
	} {
		var highest time.Duration
		for range 2000 {
			got := retryDelay(test.err, test.attempts)
			// One millisecond more, because retryDelay adds it.
			if got < test.min || got > test.max+time.Millisecond || got > retryBackoff.Max {
				t.Fatalf("%s: got %v, want from %v to %v", test.name, got, test.min, test.max)
			}
			highest = max(highest, got)
		}
		if highest < test.max*8/10 {
			t.Errorf("%s: got at most %v of 2000, want some near %v", test.name, highest, test.max)
		}
	}
}

// TestRetryDelaySpreads: events that failed together are not retried together.
func TestRetryDelaySpreads(t *testing.T) {
	t.Parallel()
	const draws = 10_000
	early := 0
	for range draws {
		if retryDelay(callError(auvious.ErrNotDone), 4) < 4*time.Second {
			early++
		}
	}
	if early < draws*4/10 || early > draws*6/10 {
		t.Errorf("delays in the first half: got %d of %d, want about half", early, draws)
	}
}
