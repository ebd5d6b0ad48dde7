// Package web is what all public HTTP of roomlink has in common: answers that
// are flat JSON objects of strings (Talkdesk maps nothing else with ease), one
// form and one table of errors, limits on headers, bodies and time, and a log
// line for each request in which an address of ours that is a key is masked.
package web

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"roomlink/internal/access"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxBody bounds the body of a request, in bytes.
const MaxBody = 64 << 10

// Error is an answer that is no success. It is an error, so that what finds a
// fault can say how it is to be answered.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is one lower-case word for programs.
	Code string
	// Description is one sentence for people. It never quotes a secret.
	Description string
	// RetryAfter becomes the header of that name, in whole seconds; 0 for none.
	RetryAfter time.Duration
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Description }

// BadRequest is the answer to a request that breaks a rule.
func BadRequest(code, format string, v ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Description: fmt.Sprintf(format, v...)}
}

// Unavailable is the answer while something that we need is not there.
func Unavailable(code, description string, retryAfter time.Duration) *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Code: code, Description: description, RetryAfter: retryAfter,
	}
}

// Unauthorized is the answer to a request without good credentials.
func Unauthorized(description string) *Error {
	return &Error{Status: http.StatusUnauthorized, Code: "unauthorized", Description: description}
}

// AccessError returns the answer to an error of [access.Authenticator.Authenticate].
func AccessError(err error) *Error {
	if errors.Is(err, access.ErrTooManyFailures) {
		return TooMany(err.Error(), time.Second)
	}
	return Unauthorized(err.Error())
}

// TooMany is the answer to a caller that asks too often.
func TooMany(description string, retryAfter time.Duration) *Error {
	return &Error{
		Status: http.StatusTooManyRequests, Code: "too_many_requests", Description: description, RetryAfter: retryAfter,
	}
}

// NotFound is the answer for an address that leads nowhere.
func NotFound(description string) *Error {
	return &Error{Status: http.StatusNotFound, Code: "not_found", Description: description}
}

// Fail answers with an error: with itself if it is an [*Error], else with 500
// and without a word of what it says.
func Fail(w http.ResponseWriter, err error) {
	answer := &Error{Status: http.StatusInternalServerError, Code: "internal", Description: "something went wrong here"}
	errors.As(err, &answer)
	if answer.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(answer.RetryAfter.Seconds()))))
	}
	if answer.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="roomlink", Bearer realm="roomlink"`)
	}
	JSON(w, answer.Status, map[string]string{"error": answer.Code, "error_description": answer.Description})
}

// What all answers of [JSON] have in common.
var (
	jsonType   = []string{"application/json"}
	noSniffing = []string{"nosniff"}
	noStore    = []string{"no-store"}
	newline    = []byte{'\n'}
)

// JSON answers with v, which is a flat object of strings.
func JSON(w http.ResponseWriter, status int, v any) {
	header := w.Header()
	header["Content-Type"], header["X-Content-Type-Options"] = jsonType, noSniffing
	if header.Get("Cache-Control") == "" {
		header["Cache-Control"] = noStore
	}
	w.WriteHeader(status)
	// Flat strings are always JSON, and a client that is gone hears nothing.
	_ = json.MarshalWrite(w, v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	_, _ = w.Write(newline)
}

// ReadBody reads the body of a request into a buffer, whose bytes it returns. It
// returns an [*Error]: 413 over [MaxBody], 408 for one that did not come in time, 400
// for one that was cut off.
func ReadBody(w http.ResponseWriter, r *http.Request, body *bytes.Buffer) ([]byte, error) {
	body.Reset()
	body.Grow(int(min(max(r.ContentLength, 0), MaxBody)) + bytes.MinRead) // read without growing
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return body.Bytes(), nil
	case errors.As(err, &tooLarge):
		return nil, &Error{
			Status: http.StatusRequestEntityTooLarge, Code: "too_large",
			Description: fmt.Sprintf("the body has more than %d bytes", MaxBody),
		}
	case errors.As(err, &timeout) && timeout.Timeout():
		return nil, &Error{
			Status: http.StatusRequestTimeout, Code: "timeout", Description: "the body did not come in time",
		}
	}
	return nil, BadRequest("truncated", "the body was cut off")
}

// methods are those that a 405 may name (RFC 9110, section 15.5.6).
var methods = [...]string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

// NewRouter returns a router whose own answers are of our form.
func NewRouter() *chi.Mux {
	router := chi.NewRouter()
	router.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		Fail(w, NotFound("there is nothing at this address"))
	})
	router.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		for _, method := range methods {
			if router.Match(chi.NewRouteContext(), method, routePath(r)) {
				w.Header().Add("Allow", method)
			}
		}
		Fail(w, &Error{
			Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
			Description: fmt.Sprintf("%s is not allowed here", strconv.QuoteToASCII(r.Method)),
		})
	})
	return router
}

// routePath is the path as the router matches it.
func routePath(r *http.Request) string {
	if r.URL.RawPath != "" {
		return r.URL.RawPath
	}
	return r.URL.Path
}

// PathValue returns a part of the address, decoded. It returns an [*Error], 400,
// for one that cannot be.
func PathValue(r *http.Request, name string) (string, error) {
	value := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return value, nil // the router matched the decoded path
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return "", BadRequest("bad_address", "the address is not percent-encoded as it should be")
	}
	return decoded, nil
}
