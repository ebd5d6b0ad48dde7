package worker

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

// newJob returns a job of an event, and not more than the deliveries look at.
func newJob(sequence uint64, stored, began time.Time) *job {
	return &job{
		began: began,
		meta:  &jetstream.MsgMetadata{Sequence: jetstream.SequencePair{Stream: sequence}, Timestamp: stored},
	}
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	d, now := newDeliveries(), time.Now()
	next := func() *job { return newJob(7, now, now) }
	first := next()
	if !d.hold(first) || first.number != 0 {
		t.Fatalf("a new event: got %+v, want it held with nothing known", first.delivery)
	}
	if d.hold(next()) {
		t.Error("a held event: got it held again, want it refused")
	}
	first.number, first.unknown = 2, 1
	d.giveBack(first)
	second := next()
	if !d.hold(second) || second.number != 2 || second.unknown != 1 {
		t.Fatalf("an event that was given back: got %+v, want what was known", second.delivery)
	}
	d.release(first)
	if d.hold(next()) {
		t.Error("an event whose old job is released again: got it free, want it held by its new job")
	}
	d.release(second)
	if third := next(); !d.hold(third) || third.number != 0 {
		t.Errorf("a settled event: got %+v, want it held with nothing known", third.delivery)
	}
}

// TestDeliveriesAreBounded: the number of remembered events does not grow without end.
func TestDeliveriesAreBounded(t *testing.T) {
	t.Parallel()
	d, now := newDeliveries(), time.Now()
	const last = 2 * maxWaiting
	for sequence := range uint64(last + 1) {
		j := newJob(sequence, now, now)
		j.number = sequence
		d.giveBack(j)
	}
	if got := len(d.waiting); got > maxWaiting {
		t.Errorf("remembered events: got %d, want at most %d", got, maxWaiting)
	}
	if j := newJob(last, now, now); !d.hold(j) || j.number != last {
		t.Errorf("the last event: got %+v, want what was known", j.delivery)
	}
}

// TestDeliveriesClock: the age of an event follows the monotonic clock after the first delivery. It is never negative.
func TestDeliveriesClock(t *testing.T) {
	t.Parallel()
	d, now := newDeliveries(), time.Now()
	past := now.Add(-time.Minute).Round(0)
	j := newJob(1, past, now)
	d.hold(j)
	if got := now.Sub(j.storedAt); got != time.Minute {
		t.Errorf("age of an event: got %v, want %v", got, time.Minute)
	}
	d.giveBack(j)
	again := newJob(1, past, now.Add(time.Hour)) // the wall clock moved
	d.hold(again)
	if !again.storedAt.Equal(j.storedAt) {
		t.Errorf("stored: got %v after a step of the clock, want %v", again.storedAt, j.storedAt)
	}
	future := newJob(2, now.Add(time.Hour).Round(0), now)
	d.hold(future)
	if got := now.Sub(future.storedAt); got != 0 {
		t.Errorf("age of an event from the future: got %v, want 0", got)
	}
}

func TestHoldTimeout(t *testing.T) {
	t.Parallel()
	created := messages.At(time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC))
	for _, test := range []struct{ lifetime, giveUpAfter, want time.Duration }{
		{4 * time.Hour, 15 * time.Minute, 4 * time.Hour},
		{time.Second, 15 * time.Minute, minHoldTimeout},
		{0, 15 * time.Minute, 15 * time.Minute}, // an unknown lifetime
		{0, time.Second, minHoldTimeout},
	} {
		links := messages.Links{CreatedAt: created}
		if test.lifetime > 0 {
			links.ExpiresAt = messages.At(created.Add(test.lifetime))
		}
		if got := holdTimeout(links, test.giveUpAfter); got != test.want {
			t.Errorf("a ticket of %v, giving up after %v: got %v, want %v", test.lifetime, test.giveUpAfter, got, test.want)
		}
	}
}
