package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// IDPlaceholder stands in the body of a [Shape] for the interaction id.
const IDPlaceholder = "ROOMLINK-INTERACTION-ID"

// Defaults of an [Attack].
const (
	DefaultConnections = 256
	DefaultTimeout     = 10 * time.Second
)

// lateAfter is from when on a request that begins after it was due is late.
const lateAfter = 10 * time.Millisecond

// recent is among how many of the last conversations a duplicate finds the one
// that it repeats.
const recent = 256

// ErrAttack says that an [Attack] contradicts itself.
var ErrAttack = errors.New("impossible load")

// Attack says what is sent, and how fast. It ends with Duration or Requests,
// whichever comes first.
type Attack struct {
	// Rate is how many requests a second are due; 0 for as many as the connections
	// carry, each sending as soon as it has its answer.
	Rate float64
	// Ramp is how long the rate takes to rise from 0, as a part of Duration.
	Ramp time.Duration
	// Duration is how long requests are sent; 0 for until Requests are.
	Duration time.Duration
	// Requests are how many are sent at most; 0 for any number.
	Requests int
	// Connections are how many requests may wait for an answer at once;
	// [DefaultConnections] if 0.
	Connections int
	// Duplicates is the part of the requests, 0 to 1, that repeat a recent
	// conversation.
	Duplicates float64
	// Shapes are what is sent, in turn and by their weight.
	Shapes []Shape
	// Timeout is how long an answer may take, counted from when the request was
	// sent; [DefaultTimeout] if 0.
	Timeout time.Duration
}

// Shape is one kind of event.
type Shape struct {
	// Weight is its part of all conversations.
	Weight int
	// Body has [IDPlaceholder] once, where the interaction id goes.
	Body []byte
}

// withDefaults returns the attack with its zero values filled in, or [ErrAttack].
func (a Attack) withDefaults() (Attack, error) {
	if a.Connections == 0 {
		a.Connections = DefaultConnections
	}
	if a.Timeout == 0 {
		a.Timeout = DefaultTimeout
	}
	switch {
	case a.Rate < 0, a.Connections < 0, a.Duration < 0, a.Requests < 0, a.Ramp < 0, a.Timeout < 0:
		return a, fmt.Errorf("%w: nothing can be less than 0", ErrAttack)
	case a.Duration == 0 && a.Requests == 0:
		return a, fmt.Errorf("%w: it has no end", ErrAttack)
	case a.Ramp > 0 && a.Rate == 0:
		return a, fmt.Errorf("%w: a ramp needs a rate", ErrAttack)
	case !(a.Duplicates >= 0 && a.Duplicates < 1): // so put, NaN is refused too
		return a, fmt.Errorf("%w: the part of duplicates is from 0 to less than 1", ErrAttack)
	}
	weights := 0
	for _, shape := range a.Shapes {
		if shape.Weight < 0 || bytes.Count(shape.Body, []byte(IDPlaceholder)) != 1 {
			return a, fmt.Errorf("%w: a shape needs a weight and one place for the id", ErrAttack)
		}
		weights += shape.Weight
	}
	if weights == 0 {
		return a, fmt.Errorf("%w: there are no shapes", ErrAttack)
	}
	return a, nil
}

// due is when a request is to be sent, from the first one on, by its number. The
// rate rises along the ramp, so the number of requests does with the square of
// the time.
func (a Attack) due(number int64) time.Duration {
	inRamp := a.Rate * a.Ramp.Seconds() / 2
	seconds := a.Ramp.Seconds() + (float64(number)-inRamp)/a.Rate
	if n := float64(number); n < inRamp {
		seconds = math.Sqrt(2 * n * a.Ramp.Seconds() / a.Rate)
	}
	return time.Duration(seconds * float64(time.Second))
}

// template is what a request of a shape for an account begins and ends with.
type template struct{ head, tail []byte }

// templates returns the requests of each account by the turn of a conversation.
func templates(target Target, shapes []Shape, idLength int) [][]template {
	var turns []int
	for i, shape := range shapes {
		for range shape.Weight {
			turns = append(turns, i)
		}
	}
	all := make([][]template, len(target.Callers))
	for i, caller := range target.Callers {
		for _, turn := range turns {
			before, after, _ := bytes.Cut(shapes[turn].Body, []byte(IDPlaceholder))
			head := fmt.Appendf(nil, "POST /talkdesk/events HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n", target.Address)
			if caller.APIKey != "" {
				head = fmt.Appendf(head, "X-API-Key: %s\r\n", caller.APIKey.Reveal())
			}
			head = fmt.Appendf(head, "Content-Length: %d\r\n\r\n%s", len(before)+idLength+len(after), before)
			all[i] = append(all[i], template{head, bytes.Clone(after)})
		}
	}
	return all
}

// attacker sends an attack's requests.
type attacker struct {
	Attack
	address       string
	templates     [][]template
	conversations *conversations
	meter         *meter
	numbers       atomic.Int64
}

// run sends until the attack is over or the context ends, and returns when every
// answer is there or has timed out.
func (a *attacker) run(ctx context.Context) {
	var connections sync.WaitGroup
	for range a.Connections {
		connections.Go(func() {
			c := &connection{address: a.address, timeout: a.Timeout}
			defer c.close()
			a.drive(ctx, c)
		})
	}
	connections.Wait()
}

// drive sends one request after the other on a connection.
func (a *attacker) drive(ctx context.Context, c *connection) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		number := a.numbers.Add(1) - 1
		due := time.Since(a.meter.began)
		if a.Rate > 0 {
			due = a.due(number)
		}
		if a.Requests > 0 && number >= int64(a.Requests) || a.Duration > 0 && due >= a.Duration {
			return
		}
		if wait := due - time.Since(a.meter.began); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		a.send(context.WithoutCancel(ctx), c, due)
	}
}

// send sends one request that was due at a time since the beginning, and waits for
// its answer.
func (a *attacker) send(ctx context.Context, c *connection, due time.Duration) {
	index := a.pick()
	conversation := a.conversations.at(index)
	conversation.marks.Or(markSent)
	a.meter.sending(due, time.Since(a.meter.began)-due > lateAfter)
	answer, err := c.post(ctx, a.request(c.request[:0], index))
	a.meter.answered(conversation, outcome{due: due, answer: answer, err: err})
}

// pick chooses a new conversation, or a recent one to repeat.
func (a *attacker) pick() int {
	if a.Duplicates > 0 && rand.Float64() < a.Duplicates {
		if count := a.conversations.count(); count > 0 {
			return count - 1 - rand.IntN(min(count, recent))
		}
	}
	return a.conversations.add()
}

// request writes the request of a conversation. Its account and its shape follow
// from its number, so a repeat is the same request.
func (a *attacker) request(into []byte, index int) []byte {
	ofAccount := a.templates[index%len(a.templates)]
	t := ofAccount[index/len(a.templates)%len(ofAccount)]
	into = append(into, t.head...)
	into = a.conversations.appendID(into, index)
	return append(into, t.tail...)
}

// idDigits is how many digits the number in an id has, so that all are of one
// length.
const idDigits = 9

// appendID writes the interaction id of a conversation.
func (c *conversations) appendID(into []byte, index int) []byte {
	into = append(into, c.prefix...)
	var digits [20]byte
	number := strconv.AppendInt(digits[:0], int64(index), 10)
	for range idDigits - len(number) {
		into = append(into, '0')
	}
	return append(into, number...)
}
