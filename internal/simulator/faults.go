package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
)

// ErrFaults means that [Faults] are invalid.
var ErrFaults = errors.New("faults out of range")

// Faults are injected faults. The zero value injects none. A call has at most one fault, so
// the sum of the three rates is at most 1.
type Faults struct {
	// Rate is the fraction of room calls, 0 to 1, that are answered with Status and make no
	// room.
	Rate float64 `json:"rate"`

	// Status is the status for Rate, 300 to 599; 503 if 0.
	Status int `json:"status"`

	// RetryAfter is the Retry-After header of the answers of Rate, RoomStatus and
	// TokenStatus; "" for none.
	RetryAfter string `json:"retryAfter"`

	// Drop is the fraction of room calls, 0 to 1, that make a room and close the connection
	// without an answer.
	Drop float64 `json:"drop"`

	// Hang is the fraction of room calls, 0 to 1, that make a room and send no answer until
	// the client gives up.
	Hang float64 `json:"hang"`

	// TokenStatus is the status of every token call, 300 to 599; 0 for normal behaviour.
	TokenStatus int `json:"tokenStatus"`

	// RoomStatus is the status of every room call, 300 to 599. No room is made. 0 for the
	// behaviour that the rates define.
	RoomStatus int `json:"roomStatus"`
}

// check returns an error that wraps ErrFaults if the faults are invalid.
func (f Faults) check() error {
	for _, rate := range []float64{f.Rate, f.Drop, f.Hang} {
		if !(rate >= 0 && rate <= 1) { // this form also refuses NaN
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

// fate is what the faults do to a room call.
type fate int

const (
	fateNone fate = iota
	fateRefused
	fateDropped
	fateHung
)

// draw draws the fate of a room call.
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
	return fateNone
}

// roomRefusal returns the answer for fateRefused.
func (f Faults) roomRefusal() Answer {
	return f.refusal(cmp.Or(f.RoomStatus, f.Status, http.StatusServiceUnavailable))
}

// refusal returns the answer of a fault.
func (f Faults) refusal(status int) Answer {
	answer := refusal(status, "simulated fault")
	if f.RetryAfter != "" {
		answer = answer.withHeader("Retry-After", f.RetryAfter)
	}
	return answer
}
