package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"roomlink/messages"
	"roomlink/worker/auvious"
)

// callError is a failed call as the facade reports it.
func callError(kind error) error { return &auvious.CallError{Kind: kind, Detail: "invented"} }

// TestDeadReason is about whether an event is tried again.
func TestDeadReason(t *testing.T) {
	t.Parallel()
	const giveUp = 15 * time.Minute
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
		{"account", callError(auvious.ErrAccount), 0, giveUp - 1, ""},
		{"account late", callError(auvious.ErrAccount), 0, giveUp, messages.ReasonExpired},
		{"unknown for the first time", callError(auvious.ErrUnknownOutcome), 1, 0, ""},
		{"unknown as often as allowed", callError(auvious.ErrUnknownOutcome), 3, 0, ""},
		{"unknown once too often", callError(auvious.ErrUnknownOutcome), 4, 0, messages.ReasonUnknownOutcome},
		{"unknown late", callError(auvious.ErrUnknownOutcome), 1, giveUp, messages.ReasonExpired},
		{"not done after many unknown", callError(auvious.ErrNotDone), 4, 0, ""},
		{"postponed", postponed{time.Second}, 0, 0, ""},
		{"postponed late: it was not tried", postponed{time.Second}, 9, giveUp, ""},
		{"broker", messages.ErrSuperseded, 0, 0, ""},
		{"broker late: it was not auvious", errors.New("no responders"), 9, giveUp, ""},
		{"context", context.DeadlineExceeded, 0, giveUp, ""},
		{"wrapped", fmt.Errorf("calling: %w", callError(auvious.ErrRejected)), 0, 0, messages.ReasonRejected},
	} {
		if got := deadReason(test.err, test.unknown, 3, test.age, giveUp); got != test.want {
			t.Errorf("%s: got reason %q, want %q", test.name, got, test.want)
		}
	}
}

// TestRetryDelay is about how long an event waits. The jitter is full, so each
// bound is tried many times.
func TestRetryDelay(t *testing.T) {
	t.Parallel()
	after := func(d time.Duration) error { return &auvious.CallError{Kind: auvious.ErrNotDone, RetryAfter: d} }
	for _, test := range []struct {
		name        string
		err         error
		attempt     uint64
		least, most time.Duration
	}{
		{"first", after(0), 1, time.Millisecond, time.Second},
		{"second", after(0), 2, time.Millisecond, 2 * time.Second},
		{"sixth", after(0), 6, time.Millisecond, 32 * time.Second},
		{"seventh", after(0), 7, time.Millisecond, time.Minute},
		{"of very many", after(0), 1 << 40, time.Millisecond, time.Minute},
		{"at least what auvious asks for", after(30 * time.Second), 1, 30 * time.Second, 30 * time.Second},
		{"which is capped", after(time.Hour), 1, time.Minute, time.Minute},
		{"and may be less than our own", after(time.Millisecond), 3, time.Millisecond, 4 * time.Second},
		{"postponed", postponed{7 * time.Second}, 40, 7 * time.Second, 7 * time.Second},
		{"broker", errors.New("no responders"), 1, time.Millisecond, time.Second},
	} {
		var highest time.Duration
		for range 2000 {
			got := retryDelay(test.err, test.attempt)
			// A millisecond more, as a delay is never 0.
			if got < test.least || got > test.most+time.Millisecond || got > lastRetry {
				t.Fatalf("%s: got %v, want from %v to %v", test.name, got, test.least, test.most)
			}
			highest = max(highest, got)
		}
		if highest < test.most*8/10 {
			t.Errorf("%s: got at most %v of 2000, want some near %v", test.name, highest, test.most)
		}
	}
}

// TestRetryDelaySpreads: those that failed together do not come again together.
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

func TestFinal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want bool
	}{
		{errBadEvent, true},
		{callError(auvious.ErrRejected), true},
		{callError(auvious.ErrBadAnswer), true},
		{callError(auvious.ErrNotDone), false},
		{callError(auvious.ErrAccount), false},
		{callError(auvious.ErrUnknownOutcome), false},
		{postponed{}, false},
		{errHandedBack, false},
		{context.Canceled, false},
	} {
		if got := final(test.err); got != test.want {
			t.Errorf("final(%v): got %v, want %v", test.err, got, test.want)
		}
	}
}

func TestCallOutcome(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, "created"},
		{callError(auvious.ErrRejected), "rejected"},
		{callError(auvious.ErrBadAnswer), "bad_answer"},
		{callError(auvious.ErrAccount), "account_refused"},
		{callError(auvious.ErrUnknownOutcome), "unknown_outcome"},
		{callError(auvious.ErrNotDone), "not_done"},
		{context.Canceled, "not_done"},
	} {
		if got := callOutcome(test.err); got != test.want {
			t.Errorf("callOutcome(%v): got %q, want %q", test.err, got, test.want)
		}
	}
}

// TestHistory forgets what it is asked for, and everything before it grows
// without end.
func TestHistory(t *testing.T) {
	t.Parallel()
	h := newHistory()
	want := past{delivery: 2, unknown: 1}
	h.put(7, want)
	if got := h.take(8); got != (past{}) {
		t.Errorf("an event that was never given back: got %+v, want nothing", got)
	}
	if got := h.take(7); got != want {
		t.Errorf("an event that was given back: got %+v, want %+v", got, want)
	}
	if got := h.take(7); got != (past{}) {
		t.Errorf("the same event again: got %+v, want nothing", got)
	}
	for sequence := range uint64(2*historyMost + 1) {
		h.put(sequence, want)
	}
	if got := len(h.given); got > historyMost {
		t.Errorf("remembered: got %d, want at most %d", got, historyMost)
	}
	if got := h.take(2 * historyMost); got != want {
		t.Errorf("the last event: got %+v, want %+v", got, want)
	}
}
