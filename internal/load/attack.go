package load

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// DefaultConnections is the default of Attack.Connections.
	DefaultConnections = 256
	// requestTimeout bounds the wait for a response.
	requestTimeout = 10 * time.Second
	// idPlaceholder marks the place of the interaction id in a sample.
	idPlaceholder = "ROOMLINK-INTERACTION-ID"
)

// ErrAttack is the error of an [Attack] that contradicts itself.
var ErrAttack = errors.New("impossible load")

// Attack describes the requests and their rate. It ends after Duration or after Requests, whichever comes
// first; a limit of 0 is none.
type Attack struct {
	Rate        float64       `default:"0" help:"Requests per second; 0 for as many as the connections carry."`
	Duration    time.Duration `default:"30s" help:"The time for which requests are sent."`
	Ramp        time.Duration `default:"0s" help:"The part of the duration in which the rate rises from 0."`
	Requests    int           `default:"0" help:"Maximum requests; 0 for no limit."`
	Connections int           `default:"256" help:"Connections to the webhook. Each carries one request at a time."`
	Shapes      ShapeMix      `default:"automation=8,digital=1,action=1" help:"The shapes of the requests with their weights."`
	Duplicates  Share         `default:"0%" help:"The share of requests that repeat a recent conversation, such as 2%."`
}

// Check returns [ErrAttack] with the reason for an attack that contradicts itself.
func (a Attack) Check() error {
	switch {
	case a.Rate < 0, a.Connections < 0, a.Duration < 0, a.Requests < 0, a.Ramp < 0:
		return fmt.Errorf("%w: a value is negative", ErrAttack)
	case a.Duration == 0 && a.Requests == 0:
		return fmt.Errorf("%w: it has neither a duration nor a number of requests", ErrAttack)
	case a.Ramp > 0 && a.Rate == 0:
		return fmt.Errorf("%w: a ramp needs a rate", ErrAttack)
	case a.Duplicates == 1:
		return fmt.Errorf("%w: all requests are duplicates", ErrAttack)
	case len(a.Shapes.turns) == 0:
		return fmt.Errorf("%w: no shape has a weight", ErrAttack)
	}
	return nil
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

// template is a request without what differs between two requests. The first headers come before head, and the
// interaction id comes between head and tail.
type template struct{ head, tail []byte }

// prepareRequests makes the first headers for each caller, and a template for each turn of the shapes.
func (r *run) prepareRequests() error {
	for _, caller := range r.Target.Callers {
		r.headers = append(r.headers, fmt.Appendf(nil,
			"POST /talkdesk/events HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-API-Key: %s\r\n",
			r.Target.Address, caller.APIKey.Reveal()))
	}
	for _, shape := range r.Attack.Shapes.turns {
		body, err := shape.Sample(idPlaceholder)
		if err != nil {
			return err
		}
		before, after, _ := bytes.Cut(body, []byte(idPlaceholder))
		length := len(before) + r.meter.conversations.idLength() + len(after)
		head := fmt.Appendf(nil, "Content-Length: %d\r\n\r\n%s", length, before)
		r.turns = append(r.turns, template{head, after})
	}
	return nil
}

// appendRequest appends the request of a conversation to buf. Caller and shape follow from the index, so a
// repeat is the same request.
func (r *run) appendRequest(buf []byte, index int) []byte {
	turn := r.turns[index/len(r.headers)%len(r.turns)]
	buf = append(buf, r.headers[index%len(r.headers)]...)
	buf = append(buf, turn.head...)
	buf = r.meter.conversations.appendID(buf, index)
	return append(buf, turn.tail...)
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
	for range cmp.Or(r.Attack.Connections, DefaultConnections) {
		connections.Go(func() {
			c := &connection{address: r.Target.Address}
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
	for ctx.Err() == nil {
		number := r.sent.Add(1) - 1
		due := time.Since(r.meter.start)
		if a.Rate > 0 {
			due = a.due(number)
		}
		if a.Requests > 0 && number >= int64(a.Requests) || a.Duration > 0 && due >= a.Duration {
			return
		}
		if wait := due - time.Since(r.meter.start); wait > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
		r.send(context.WithoutCancel(ctx), c, due)
	}
}

// send sends one request and waits for its response.
func (r *run) send(ctx context.Context, c *connection, due time.Duration) {
	index := r.meter.sending(due, rand.Float64() < float64(r.Attack.Duplicates))
	response, err := c.post(ctx, r.appendRequest(c.request[:0], index))
	r.meter.responded(index, due, response, err)
}
