// Package auvious is a client of the room facade of auvious, a video service for contact centres. One call makes
// one room and returns its links.
//
// The facade has no idempotency key: every call makes another room. So a [Client] never repeats a call with an
// unknown outcome, and its errors tell whether a room may exist. All calls share one access token. The client
// fetches a new token before the old one expires.
//
// An answer may come from somebody between the client and auvious: a proxy, an ingress or a firewall. The client
// believes a refusal only if auvious itself said it, in a JSON object with a text "error". It reads good JSON behind
// any content type, with a byte order mark, compressed or not.
//
// No error contains a token, the client secret or a ticket. The client never requests a ticket URL.
package auvious

import (
	"fmt"
	"time"

	"roomlink/messages"
)

// Kind is the meaning of a failed call. It is an error, and every [CallError] wraps one.
type Kind int //nolint:errname // an enum of errors, as syscall.Errno is

// The kinds. The zero Kind is none of them.
const (
	// ErrRejected: auvious refused this request and would refuse it again.
	ErrRejected Kind = iota + 1
	// ErrBadAnswer: auvious reported success without usable URLs. A room may exist.
	ErrBadAnswer
	// ErrAccount: auvious refused the account's credentials or issued no token. The request is not at fault.
	ErrAccount
	// ErrNotDone: auvious made no room. The call may be repeated.
	ErrNotDone
	// ErrBadGateway: a gateway lost the connection to auvious. Most likely there is no room, and the call may be
	// repeated.
	ErrBadGateway
	// ErrUnknownOutcome: the client sent the call and got no complete answer of auvious. A room may exist.
	ErrUnknownOutcome

	errEnd // is after the last kind
)

// kindTexts are the texts of the kinds.
var kindTexts = [errEnd]string{
	ErrRejected:       "auvious refused the request",
	ErrBadAnswer:      "auvious answered without usable links",
	ErrAccount:        "auvious gave the account no access",
	ErrNotDone:        "auvious did not carry out the call",
	ErrBadGateway:     "auvious most likely did not carry out the call",
	ErrUnknownOutcome: "the outcome of the call is unknown",
}

// Kinds returns all kinds.
func Kinds() []Kind {
	var kinds []Kind
	for kind := ErrRejected; kind < errEnd; kind++ {
		kinds = append(kinds, kind)
	}
	return kinds
}

// Error implements error.
func (k Kind) Error() string { return kindTexts[k] }

// CallError describes a failed call.
type CallError struct {
	Kind Kind
	// Endpoint and Cause say where the call failed and what came. They are empty if there was no call.
	Endpoint Endpoint
	Cause    Cause
	// Status is the HTTP status; 0 if there was no answer.
	Status int
	// RetryAfter is the delay that the answer asked for, of a minute at most; 0 if none.
	RetryAfter time.Duration
	// Detail says for the operator what came, as in "token endpoint: 200 text/html, not JSON". Its secrets are masked.
	Detail string
}

// Error implements error.
func (e *CallError) Error() string { return fmt.Sprintf("%v: %s", e.Kind, e.Detail) }

// Unwrap returns the kind.
func (e *CallError) Unwrap() error { return e.Kind }

// RoomRequest is the request of the room facade (auvious, "Actions").
type RoomRequest struct {
	ApplicationID string `json:"applicationId"`
	// Destination is "standalone", the only value known to us.
	Destination   string `json:"cdestination"`
	CustomerID    string `json:"customerId"`
	InteractionID string `json:"interactionId"`
	// OrganizationID is absent if empty.
	OrganizationID string `json:"organizationId,omitempty"`
	// TicketExpirationSeconds is absent if nil. Only auvious knows the meaning of 0.
	TicketExpirationSeconds *int64 `json:"ticketExpirationSeconds,omitempty"`
	// URLBase includes the scheme. It is mandatory with client credentials.
	URLBase string `json:"urlBase,omitempty"`
}

// Room is the answer of the room facade.
type Room struct {
	AgentURL string
	// RecordingURL is empty if there is no recording.
	RecordingURL string
	TicketURL    messages.Secret
}
