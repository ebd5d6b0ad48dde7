package auvious

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"
)

// Endpoint is an endpoint of auvious.
type Endpoint string

// The endpoints.
const (
	TokenEndpoint Endpoint = "token"
	RoomEndpoint  Endpoint = "room"
)

// Cause says what came instead of a token or a room. It suits a label of a metric, because the list is closed; see
// [Causes].
type Cause string

const (
	causeConnectionFailed Cause = "connection_failed"
	causeCutOff           Cause = "cut_off"
	causeTooLong          Cause = "too_long"
	causeEmpty            Cause = "empty"
	causeNotJSON          Cause = "not_json"
	causeNotObject        Cause = "not_object"

	causeRedirect         Cause = "redirect"
	causeRejected         Cause = "rejected"
	causeNotAuvious       Cause = "not_auvious"
	causeTooManyRequests  Cause = "too_many_requests"
	causeBadGateway       Cause = "bad_gateway"
	causeGatewayTimeout   Cause = "gateway_timeout"
	causeUnavailable      Cause = "unavailable"
	causeUnexpectedStatus Cause = "unexpected_status"
	causeInvalidToken     Cause = "invalid_token"
	causeBadLinks         Cause = "bad_links"

	causeNoToken      Cause = "no_token"
	causeBadToken     Cause = "bad_token"
	causeBadTokenType Cause = "bad_token_type"
)

// causeTexts has every cause with its text for people. The text is empty if the form of the body says more.
var causeTexts = map[Cause]string{
	// No answer came.
	"connection_refused":  "connection refused",
	"connection_lost":     "connection lost",
	"host_not_found":      "host name not found",
	"timeout":             "timed out",
	"tls":                 "TLS failed",
	"not_http":            "the answer is not HTTP",
	causeConnectionFailed: "connection failed",

	// The form of the body is wrong.
	causeCutOff:    "cut off",
	causeTooLong:   "longer than 64 KiB",
	causeEmpty:     "empty",
	causeNotJSON:   "not JSON",
	causeNotObject: "no JSON object",

	// The status says enough.
	causeRedirect:         "a redirect: check the URL of auvious",
	causeRejected:         "",
	causeNotAuvious:       "",
	causeTooManyRequests:  "",
	causeBadGateway:       "",
	causeGatewayTimeout:   "",
	causeUnavailable:      "",
	causeUnexpectedStatus: "neither 200 nor 201",
	causeInvalidToken:     "the access token is refused",

	causeBadLinks: "without usable links",

	causeNoToken:      "without an access_token",
	causeBadToken:     "an access_token with a character that is not allowed",
	causeBadTokenType: "a token_type other than bearer",
}

// oauthErrors are the error codes of RFC 6749, section 5.2, which are causes, too.
var oauthErrors = []Cause{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
}

// Causes returns all causes in alphabetical order.
func Causes() []Cause {
	causes := slices.AppendSeq(slices.Clone(oauthErrors), maps.Keys(causeTexts))
	slices.Sort(causes)
	return causes
}

// causeOf returns the cause of a request without an answer.
func causeOf(err error) Cause {
	var timeout net.Error
	var lookup *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection_refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection_lost"
	case errors.As(err, &lookup):
		return "host_not_found"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "x509: "):
		return "tls"
	case strings.Contains(err.Error(), "malformed HTTP"):
		return "not_http"
	}
	return causeConnectionFailed
}

// noAnswer returns the error of a request without an answer. The text says whether the request was sent. The error
// does not quote err, which may contain an address.
func noAnswer(kind Kind, endpoint Endpoint, text string, err error) *CallError {
	cause := causeOf(err)
	return &CallError{
		Kind: kind, Endpoint: endpoint, Cause: cause,
		Detail: string(endpoint) + " endpoint: " + text + ": " + causeTexts[cause],
	}
}
