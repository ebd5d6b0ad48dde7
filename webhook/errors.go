package webhook

import (
	"errors"
	"net/http"
	"time"

	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

var (
	// errUnknownClient refuses to issue an access token.
	errUnknownClient = errors.New("issuing an access token")
	// errPending ends the wait of an action whose event is stored.
	errPending = errors.New("waiting for the links")
	// errRevoked ends an action: only a renewal replaces revoked links.
	errRevoked = errors.New("the links are revoked")
	// errNotStored answers an event that may or may not be stored.
	errNotStored = web.Unavailable("queue_unavailable", "the event could not be stored: send it again", 2*time.Second)
)

// answers has the answers to all errors of a request. The first row that matches counts.
var answers = web.ErrorTable{
	Rows: append([]web.ErrorRow{
		// RFC 6749, section 5.2, has one code for all of these.
		{Err: errUnknownClient, Answer: invalidClient("the client is unknown, or its secret is wrong")},
		{Err: errPending, Answer: &web.Error{
			Status: http.StatusGatewayTimeout, Code: "timeout",
			Description: "the room takes longer and still comes: ask again",
		}},
		{Err: errRevoked, Answer: &web.Error{
			Status: http.StatusGone, Code: "revoked",
			Description: "the links of this conversation were revoked: renew them for a new room",
		}},
		{Err: store.ErrQueueFull, Answer: web.Unavailable(
			"queue_full", "the queue is full: send the event again later", 10*time.Second)},
		{Err: store.ErrWaiting, Answer: errNotStored},
		{Err: store.ErrSuperseded, Answer: errNotStored},
		{Err: messages.ErrNotFound, Answer: errNotStored},
		{Err: messages.ErrInvalid, Answer: web.BadRequest("bad_event", "")},
	}, web.AccessRows()...),
	Default: errNotStored,
}

// invalidClient answers a request for an access token without a client's credentials.
func invalidClient(description string) *web.Error {
	return &web.Error{Status: http.StatusUnauthorized, Code: "invalid_client", Description: description}
}

// roomFailed answers an action whose event became a dead letter.
func roomFailed(reason string) *web.Error {
	return &web.Error{Status: http.StatusBadGateway, Code: reason, Description: "the room could not be made: " + reason}
}
