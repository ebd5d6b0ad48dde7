package simulator

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
)

// ErrFaults says that [Faults] contradict themselves.
var ErrFaults = errors.New("faults out of range")

// Faults are what goes wrong. The zero value is nothing. The three rates share
// the calls between them (one call has at most one fault), so they sum to at
// most 1.
type Faults struct {
	// Rate is the part of the room calls, 0 to 1, that is answered with Status
	// before any room is made. Default 0.
	Rate float64 `json:"rate"`

	// Status is what Rate answers, 300 to 599. Zero: 503.
	Status int `json:"status"`

	// RetryAfter is the Retry-After header of every answer that Rate, RoomStatus
	// or TokenStatus makes, as it goes on the wire. Empty (the default): none.
	RetryAfter string `json:"retryAfter"`

	// Drop is the part of the room calls, 0 to 1, for which the room is made and
	// the connection closed without an answer. Default 0.
	Drop float64 `json:"drop"`

	// Hang is the part of the room calls, 0 to 1, for which the room is made and
	// no answer is sent until the client gives up. Default 0.
	Hang float64 `json:"hang"`

	// TokenStatus, 300 to 599, is what every token call answers. Zero (the
	// default): token calls are well.
	TokenStatus int `json:"tokenStatus"`

	// RoomStatus, 300 to 599, is what every room call answers; no room is made.
	// Zero (the default): room calls are as the rates say.
	RoomStatus int `json:"roomStatus"`
}

// check returns ErrFaults, wrapped, if the faults contradict themselves.
func (f Faults) check() error {
	for _, rate := range []float64{f.Rate, f.Drop, f.Hang} {
		if !(rate >= 0 && rate <= 1) { // so put, NaN is refused too
			return fmt.Errorf("rate %v is not between 0 and 1: %w", rate, ErrFaults)
		}
	}
	if sum := f.Rate + f.Drop + f.Hang; sum > 1+1e-9 {
		return fmt.Errorf("rates sum to %v, more than 1: %w", sum, ErrFaults)
	}
	for _, status := range []int{f.Status, f.TokenStatus, f.RoomStatus} {
		if status != 0 && (status < 300 || status > 599) {
			return fmt.Errorf("status %d is not between 300 and 599: %w", status, ErrFaults)
		}
	}
	if strings.ContainsAny(f.RetryAfter, "\r\n") {
		return fmt.Errorf("retryAfter %q has more than one line: %w", f.RetryAfter, ErrFaults)
	}
	return nil
}

// A fate is what the faults have in store for one room call.
type fate int

const (
	fateWell fate = iota
	fateRefused
	fateDropped
	fateHung
)

// draw decides over one room call.
func (f Faults) draw() fate {
	if f.RoomStatus != 0 {
		return fateRefused
	}
	x := rand.Float64()
	switch {
	case x < f.Rate:
		return fateRefused
	case x < f.Rate+f.Drop:
		return fateDropped
	case x < f.Rate+f.Drop+f.Hang:
		return fateHung
	}
	return fateWell
}

// roomRefusal is the answer of a room call whose fate is to be refused.
func (f Faults) roomRefusal() Answer {
	switch {
	case f.RoomStatus != 0:
		return f.refusal(f.RoomStatus)
	case f.Status != 0:
		return f.refusal(f.Status)
	}
	return f.refusal(http.StatusServiceUnavailable)
}

// refusal is an answer made by a fault.
func (f Faults) refusal(status int) Answer {
	answer := refusal(status, "simulated fault")
	if f.RetryAfter != "" {
		answer = answer.with("Retry-After", f.RetryAfter)
	}
	return answer
}
