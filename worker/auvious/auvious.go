// Package auvious calls the room facade of auvious (video calls for contact
// centres): one call makes one room and answers the links for it.
//
// The facade is not idempotent, and has no idempotency key: every call makes
// another room. So a [Client] never repeats a call whose outcome it does not
// know, and tells by its errors whether a room may exist. It keeps an access
// token for all calls, and renews it before it ends.
//
// Neither tokens nor the client secret nor a ticket are in an error, and a
// ticket URL is never fetched.
package auvious

import (
	"errors"
	"fmt"
	"time"

	"roomlink/messages"
)

// What a failed call means. Every error of [Client.CreateRoom] but the caller's
// own context wraps one of these.
var (
	// ErrRejected: auvious refused this request, and would again.
	ErrRejected = errors.New("auvious refused the request")
	// ErrBadAnswer: auvious said yes, without three usable URLs. A room may exist.
	ErrBadAnswer = errors.New("auvious answered without usable links")
	// ErrAccount: auvious refused our credentials, or gives out no token. It is no
	// fault of the request.
	ErrAccount = errors.New("auvious does not let the account in")
	// ErrNotDone: the call was not carried out, and may be repeated.
	ErrNotDone = errors.New("auvious did not carry out the call")
	// ErrUnknownOutcome: the call was sent and its answer is not known. A room may
	// exist.
	ErrUnknownOutcome = errors.New("the outcome of the call is not known")
)

// CallError is a failed call with what is known of it.
type CallError struct {
	// Kind is one of the sentinels above.
	Kind error
	// Status is the HTTP status; 0 if there was no answer.
	Status int
	// RetryAfter is what auvious asked for; 0 if nothing.
	RetryAfter time.Duration
	// Detail is a sentence for the operator, with secrets masked.
	Detail string
}

// Error implements error.
func (e *CallError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("%v: %s (HTTP status %d)", e.Kind, e.Detail, e.Status)
	}
	return fmt.Sprintf("%v: %s", e.Kind, e.Detail)
}

// Unwrap lets [errors.Is] find the kind.
func (e *CallError) Unwrap() error { return e.Kind }

// RoomRequest is the request of the room facade (auvious, "Actions").
type RoomRequest struct {
	ApplicationID string `json:"applicationId"`
	// Destination has only ever been seen as "standalone".
	Destination   string `json:"cdestination"`
	CustomerID    string `json:"customerId"`
	InteractionID string `json:"interactionId"`
	// OrganizationID is left out if empty.
	OrganizationID string `json:"organizationId,omitempty"`
	// TicketExpirationSeconds is left out if nil. What 0 means only auvious knows.
	TicketExpirationSeconds *int64 `json:"ticketExpirationSeconds,omitempty"`
	// URLBase has its scheme; it is mandatory with client credentials.
	URLBase string `json:"urlBase,omitempty"`
}

// Room is the answer of the room facade.
type Room struct {
	AgentURL string
	// RecordingURL is empty if there is no recording.
	RecordingURL string
	TicketURL    messages.Secret
}
