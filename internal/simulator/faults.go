package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// ErrFaults means that [Faults] are invalid.
var ErrFaults = errors.New("invalid faults")

// Faults are injected faults. The zero value injects none. A call has at most one fault, so
// the sum of the three rates is at most 1. The stages in the package comment say which fault
// comes first.
type Faults struct {
	// Rate is the fraction of room calls, 0 to 1, that are answered with Status and make no
	// room.
	Rate float64 `json:"rate"`

	// Status is the status for Rate, 300 to 599; 503 if 0.
	Status int `json:"status"`

	// RetryAfter is the Retry-After header of the answers of Rate, RoomStatus, TokenStatus
	// and Named from status 300 on; "" for none. "date+30s" is the date in 30 seconds.
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

	// Named are faults with a name, of [NamedFaults]. A name may have a limit:
	// "bom:first=3" is a fault of the first 3 calls, "bom:share=0.5" of half of the calls,
	// and "bom:for=3s" of the calls within 3 seconds of the first. If several apply to a
	// call, the first one counts.
	Named []string `json:"named,omitempty"`

	named []*limitedFault
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
	if delay, ok := strings.CutPrefix(f.RetryAfter, datePrefix); ok {
		if _, err := time.ParseDuration(delay); err != nil {
			return fmt.Errorf("retryAfter %q has no duration behind date+: %w", f.RetryAfter, ErrFaults)
		}
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
func (f Faults) refusal(status int) Answer { return f.delay(refusal(status, "simulated fault")) }

// datePrefix begins a RetryAfter that is a date.
const datePrefix = "date+"

// delay returns the answer with the Retry-After header, if it is a refusal.
func (f Faults) delay(a Answer) Answer {
	if f.RetryAfter == "" || a.Status < http.StatusMultipleChoices {
		return a
	}
	value := f.RetryAfter
	if text, ok := strings.CutPrefix(value, datePrefix); ok {
		delay, _ := time.ParseDuration(text) // checked
		value = time.Now().Add(delay).UTC().Format(http.TimeFormat)
	}
	return a.withHeader("Retry-After", value)
}
