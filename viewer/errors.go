package viewer

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

// retryAfter is how long a caller waits before it tries again.
const retryAfter = 2 * time.Second

var (
	// errState wraps every error of a read of a state.
	errState = errors.New("reading the state of the conversation")
	// errTooManyStreams answers a page that has too many event streams.
	errTooManyStreams = web.TooMany("this page has too many event streams: ask for its state instead", retryAfter)
	// errNotStored answers a renewal that may or may not be stored.
	errNotStored = web.Unavailable("queue_unavailable", "the renewal could not be stored: ask again", retryAfter)
)

// answers has the answers to all errors of a request. The first row that matches counts.
var answers = web.ErrorTable{
	Rows: append([]web.ErrorRow{
		{Err: errState, Answer: web.Unavailable(
			"state_unavailable", "the state of the conversation cannot be read now", retryAfter)},
		{Err: messages.ErrNotFound, Answer: web.NotFound("the conversation has no links to renew")},
		{Err: messages.ErrInvalid, Answer: errNotStored},
		{Err: store.ErrQueueFull, Answer: web.Unavailable("queue_full", "the queue is full: ask again later", retryAfter)},
		{Err: store.ErrSuperseded, Answer: errNotStored},
		{Err: store.ErrWaiting, Answer: errNotStored},
	}, web.AccessRows()...),
	Default: errNotStored,
}

// fail answers a program with an error.
func fail(w http.ResponseWriter, err error) { web.Fail(w, answers.Answer(err)) }

// failPage answers a request below a page's address with an error: a person with a page, a program with JSON.
func (v *Viewer) failPage(w http.ResponseWriter, r *http.Request, err error) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		v.showError(w, r, err)
		return
	}
	fail(w, err)
}

// showError answers a person with the page for an error.
func (v *Viewer) showError(w http.ResponseWriter, r *http.Request, err error) {
	status := answers.Answer(err).Status
	switch status {
	case http.StatusNotFound:
		v.notFound(w, r)
	case http.StatusGone:
		v.show(w, r, status, pageExpired)
	default:
		v.show(w, r, status, pageOutage.following(r))
	}
}
