package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// IDPlaceholder marks the place of the interaction id in the body of a [Shape].
const IDPlaceholder = "ROOMLINK-INTERACTION-ID"

// Defaults of an [Attack].
const (
	DefaultConnections = 256
	DefaultTimeout     = 10 * time.Second
)

const (
	// maxDelay is the delay after its due time at which a request counts as late.
	maxDelay = 10 * time.Millisecond
	// duplicateWindow is the number of latest conversations that a duplicate may repeat.
	duplicateWindow = 256
)

// ErrAttack is the error of an [Attack] that contradicts itself.
var ErrAttack = errors.New("impossible load")

// Attack describes the requests and their rate. It ends after Duration or after Requests, whichever comes
// first.
type Attack struct {
	// Rate is the number of requests due per second. At 0 each connection sends its next request as soon as it
	// has the response to the previous one.
	Rate float64
	// Ramp is the time in which the rate rises from 0 to Rate. It is a part of Duration.
	Ramp time.Duration
	// Duration is the time during which requests are sent; 0 for no limit.
	Duration time.Duration
	// Requests is the maximum number of requests; 0 for no limit.
	Requests int
	// Connections is the number of connections, each with one request at a time; [DefaultConnections] if 0.
	Connections int
	// Duplicates is the share of requests that repeat a recent conversation, from 0 to less than 1.
	Duplicates float64
	// Shapes are the kinds of events. They are sent in turn, by weight.
	Shapes []Shape
	// Timeout bounds the wait for a response, from the time its request was sent; [DefaultTimeout] if 0.
	Timeout time.Duration
}

// Shape is one kind of event.
type Shape struct {
	// Weight is the shape's share of all conversations, relative to the other weights.
	Weight int
	// Body is the JSON of an event. It contains [IDPlaceholder] once.
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
		return a, fmt.Errorf("%w: a value is negative", ErrAttack)
	case a.Duration == 0 && a.Requests == 0:
		return a, fmt.Errorf("%w: it has neither a duration nor a number of requests", ErrAttack)
	case a.Ramp > 0 && a.Rate == 0:
		return a, fmt.Errorf("%w: a ramp needs a rate", ErrAttack)
	case !(a.Duplicates >= 0 && a.Duplicates < 1): // refuses NaN too
		return a, fmt.Errorf("%w: the share of duplicates is not between 0 and 1", ErrAttack)
	}
	weights := 0
	for _, shape := range a.Shapes {
		if shape.Weight < 0 || bytes.Count(shape.Body, []byte(IDPlaceholder)) != 1 {
			return a, fmt.Errorf("%w: a shape needs a weight and one place for the id", ErrAttack)
		}
		weights += shape.Weight
	}
	if weights == 0 {
		return a, fmt.Errorf("%w: no shape has a weight", ErrAttack)
	}
	return a, nil
}

// due returns the due time of a request by its number, both counted from 0. In the ramp the number of requests
// grows with the square of the time.
func (a Attack) due(number int64) time.Duration {
	n, rampCount := float64(number), a.Rate*a.Ramp.Seconds()/2
	seconds := a.Ramp.Seconds() + (n-rampCount)/a.Rate
	if n < rampCount {
		seconds = math.Sqrt(2 * n * a.Ramp.Seconds() / a.Rate)
	}
	return time.Duration(seconds * float64(time.Second))
}

// template is a request without its interaction id, which goes between head and tail.
type template struct{ head, tail []byte }

// templates returns one template for each caller and turn. A shape has as many turns as its weight.
func templates(target Target, shapes []Shape, idLength int) [][]template {
	all := make([][]template, len(target.Callers))
	for i, caller := range target.Callers {
		for _, shape := range shapes {
			before, after, _ := bytes.Cut(shape.Body, []byte(IDPlaceholder))
			head := fmt.Appendf(nil, "POST /talkdesk/events HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n", target.Address)
			if caller.APIKey != "" {
				head = fmt.Appendf(head, "X-API-Key: %s\r\n", caller.APIKey.Reveal())
			}
			head = fmt.Appendf(head, "Content-Length: %d\r\n\r\n%s", len(before)+idLength+len(after), before)
			for range shape.Weight {
				all[i] = append(all[i], template{head, after})
			}
		}
	}
	return all
}

// attack sends the requests until the attack is over or ctx ends. It returns when every request has its
// response or has timed out.
func (r *run) attack(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var meanwhile, connections sync.WaitGroup
	if r.Meanwhile != nil {
		meanwhile.Go(func() { r.Meanwhile(ctx) })
	}
	for range r.Attack.Connections {
		connections.Go(func() {
			c := &connection{address: r.Target.Address, timeout: r.Attack.Timeout}
			defer c.close()
			r.drive(ctx, c)
		})
	}
	connections.Wait()
	stop()
	meanwhile.Wait()
}

// drive sends requests on a connection, one after the other.
func (r *run) drive(ctx context.Context, c *connection) {
	a := r.Attack
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		number := r.requests.Add(1) - 1
		due := time.Since(r.meter.start)
		if a.Rate > 0 {
			due = a.due(number)
		}
		if a.Requests > 0 && number >= int64(a.Requests) || a.Duration > 0 && due >= a.Duration {
			return
		}
		if wait := due - time.Since(r.meter.start); wait > 0 {
			timer.Reset(wait)
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
		r.send(context.WithoutCancel(ctx), c, due)
	}
}

// send sends one request and waits for its response.
func (r *run) send(ctx context.Context, c *connection, due time.Duration) {
	index := r.pick()
	conversation := r.conversations.at(index)
	conversation.marks.Or(markSent)
	r.meter.sending(due)
	response, err := c.post(ctx, r.appendRequest(c.request[:0], index))
	r.meter.responded(conversation, due, response, err)
}

// pick returns the index of a new conversation, or of a recent one to repeat.
func (r *run) pick() int {
	if r.Attack.Duplicates > 0 && rand.Float64() < r.Attack.Duplicates {
		if count := r.conversations.count(); count > 0 {
			return count - 1 - rand.IntN(min(count, duplicateWindow))
		}
	}
	return r.conversations.add()
}

// appendRequest appends the request of a conversation to buf. Caller and shape follow from the index, so a
// repeat is the same request.
func (r *run) appendRequest(buf []byte, index int) []byte {
	turns := r.templates[index%len(r.templates)]
	t := turns[index/len(r.templates)%len(turns)]
	buf = append(buf, t.head...)
	buf = r.conversations.appendID(buf, index)
	return append(buf, t.tail...)
}
