package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker/auvious"
)

// callError is a failed call as the facade reports it.
func callError(kind auvious.Kind) error { return &auvious.CallError{Kind: kind, Detail: "invented"} }

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
		{"broker", store.ErrSuperseded, 0, 0, ""},
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
	h, now := newHistory(), time.Now()
	first := h.hold(7, now, now)
	if first == nil || first.delivery != 0 {
		t.Fatalf("an event that was never given back: got %+v, want nothing known", first)
	}
	if again := h.hold(7, now, now); again != nil {
		t.Errorf("an event that is held: got %+v, want none", again)
	}
	first.delivery, first.unknown = 2, 1
	h.giveBack(7, first)
	second := h.hold(7, now, now)
	if second == nil || second.delivery != 2 || second.unknown != 1 {
		t.Fatalf("an event that was given back: got %+v, want what was known", second)
	}
	h.release(7, first)
	if h.hold(7, now, now) != nil {
		t.Error("letting go twice: got the event free, want it held by whoever took it since")
	}
	h.release(7, second)
	if third := h.hold(7, now, now); third == nil || third.delivery != 0 {
		t.Errorf("an event that was settled: got %+v, want nothing known", third)
	}
	for sequence := range uint64(2*historyMost + 1) {
		h.giveBack(sequence, &past{delivery: sequence})
	}
	if got := len(h.given); got > historyMost {
		t.Errorf("remembered: got %d, want at most %d", got, historyMost)
	}
	if got := h.hold(2*historyMost, now, now); got.delivery != 2*historyMost {
		t.Errorf("the last event: got %+v, want what was known", got)
	}
}

// TestHistoryClock: the age of an event goes by the process' own clock once it has
// come, and is never negative.
func TestHistoryClock(t *testing.T) {
	t.Parallel()
	h, now := newHistory(), time.Now()
	if got := now.Sub(h.hold(1, now.Add(-time.Minute), now).stored); got != time.Minute {
		t.Errorf("age of an event: got %v, want %v", got, time.Minute)
	}
	if got := now.Sub(h.hold(2, now.Add(time.Hour).Round(0), now).stored); got != 0 {
		t.Errorf("age of an event from the future: got %v, want 0", got)
	}
	p := h.hold(3, now.Add(-time.Minute).Round(0), now)
	h.giveBack(3, p)
	stepped := now.Add(time.Hour) // what another look at the stream's timestamp would make of it
	if got := h.hold(3, now.Add(-time.Minute).Round(0), stepped).stored; !got.Equal(p.stored) {
		t.Errorf("stored: got %v after a step of the clock, want %v", got, p.stored)
	}
}

func TestHeldFor(t *testing.T) {
	created := messages.At(time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC))
	for _, test := range []struct{ lifetime, giveUpAfter, want time.Duration }{
		{4 * time.Hour, 15 * time.Minute, 4 * time.Hour},
		{time.Second, 15 * time.Minute, leastHeld},
		{0, 15 * time.Minute, 15 * time.Minute}, // not known
		{0, time.Second, leastHeld},
	} {
		links := messages.Links{CreatedAt: created}
		if test.lifetime > 0 {
			links.ExpiresAt = messages.At(created.Add(test.lifetime))
		}
		if got := heldFor(links, test.giveUpAfter); got != test.want {
			t.Errorf("held with a ticket of %v, giving up after %v: got %v, want %v",
				test.lifetime, test.giveUpAfter, got, test.want)
		}
	}
}
