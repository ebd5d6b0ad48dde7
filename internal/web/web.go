// Package web is the common part of all public HTTP endpoints. It provides the form of
// answers and errors, limits on headers, bodies and time, and a log line for each request.
//
// Answers are flat JSON objects of strings, because Talkdesk maps other values poorly; only
// an access token's lifetime is a number. Log lines never contain the token in the address
// of one of our pages.
package web

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"roomlink/internal/access"

	"github.com/go-chi/chi/v5"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxBody bounds the body of a request, in bytes.
const MaxBody = 64 << 10

// Error is an error together with the answer to it.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is a lower-case identifier for programs, such as "bad_request".
	Code string
	// Description is a sentence for people. It never contains a secret.
	Description string
	// RetryAfter is the Retry-After header, rounded up to whole seconds; 0 for none.
	RetryAfter time.Duration
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Description }

// BadRequest returns a 400 with the given code.
func BadRequest(code, format string, v ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Description: fmt.Sprintf(format, v...)}
}

// Unavailable returns a 503, for a dependency that does not work.
func Unavailable(code, description string, retryAfter time.Duration) *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Code: code, Description: description, RetryAfter: retryAfter,
	}
}

// Unauthorized returns the answer to a request without valid credentials: 401.
func Unauthorized(description string) *Error {
	return &Error{Status: http.StatusUnauthorized, Code: "unauthorized", Description: description}
}

// TooMany returns a 429, for a caller that exceeds a rate.
func TooMany(description string, retryAfter time.Duration) *Error {
	return &Error{
		Status: http.StatusTooManyRequests, Code: "too_many_requests", Description: description, RetryAfter: retryAfter,
	}
}

// NotFound returns a 404.
func NotFound(description string) *Error {
	return &Error{Status: http.StatusNotFound, Code: "not_found", Description: description}
}

// Fail answers with err if it is an [*Error]. For any other error it answers 500 and does
// not reveal the error's text.
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

// JSON answers with v, a flat object. It keeps a Cache-Control header of the handler's own.
func JSON(w http.ResponseWriter, status int, v any) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("X-Content-Type-Options", "nosniff")
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	// Strings always have a JSON form, and a write to a closed connection needs no handling.
	_ = json.MarshalWrite(w, v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	_, _ = w.Write([]byte{'\n'})
}

// EventAnswer is the answer to an event, and to a renewal.
type EventAnswer struct {
	// Status is accepted, duplicate or ignored.
	Status        string `json:"status"`
	InteractionID string `json:"interactionId"`
	access.Addresses
}

// ReadBody reads the body of a request. It returns an [*Error]: 415 for a body with a content
// coding, 413 for more than [MaxBody] bytes, 408 for a body that did not arrive in time, 400
// for one that was cut off.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		w.Header().Set("Accept-Encoding", "identity") // RFC 9110, section 15.5.16
		return nil, &Error{
			Status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding",
			Description: "a compressed body is not supported: send it without Content-Encoding",
		}
	}
	var body bytes.Buffer
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
			Status: http.StatusRequestTimeout, Code: "timeout", Description: "the body did not arrive in time",
		}
	}
	return nil, BadRequest("truncated", "the body was cut off")
}

// methods are the candidates for the Allow header of a 405 (RFC 9110, section 15.5.6).
var methods = [...]string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

// NewRouter returns a router that answers 404 and 405 in the form of [Fail]. It routes calls of
// Talkdesk with doubled slashes or a trailing slash in their path in place, without a redirect.
func NewRouter() *chi.Mux {
	router := chi.NewRouter()
	router.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			chi.RouteContext(r.Context()).RoutePath = routePath(r)
			next.ServeHTTP(w, r)
		})
	})
	router.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		Fail(w, NotFound("there is nothing at this address"))
	})
	router.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		SetAllow(w, r, router)
		Fail(w, &Error{
			Status: http.StatusMethodNotAllowed, Code: "method_not_allowed",
			Description: fmt.Sprintf("%s is not allowed here", strconv.QuoteToASCII(r.Method)),
		})
	})
	return router
}

// SetAllow sets the Allow header of a 405 to the methods that routes has for the address.
func SetAllow(w http.ResponseWriter, r *http.Request, routes chi.Routes) {
	for _, method := range methods {
		if routes.Match(chi.NewRouteContext(), method, routePath(r)) {
			w.Header().Add("Allow", method)
		}
	}
}

// routePath returns the path that chi matches. Talkdesk joins the base path of an integration
// and the path of an action as text. So doubled slashes and a trailing slash do not count in
// a POST or below /links/. They count in a GET of a page, because the addresses in it are
// relative to its own.
func routePath(r *http.Request) string {
	path := cmp.Or(r.URL.RawPath, r.URL.Path)
	joined := path
	for strings.Contains(joined, "//") {
		joined = strings.ReplaceAll(joined, "//", "/")
	}
	if r.Method == http.MethodPost || strings.HasPrefix(joined, "/links/") {
		return strings.TrimSuffix(joined, "/")
	}
	return path
}

// PathValue returns a decoded parameter of the path. It returns an [*Error], 400, if the
// parameter is not percent-encoded correctly.
func PathValue(r *http.Request, name string) (string, error) {
	value := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return value, nil // the router matched the decoded path
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return "", BadRequest("bad_address", "the address is not percent-encoded correctly")
	}
	return decoded, nil
}
