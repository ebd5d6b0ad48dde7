package auvious

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// tokenTransport reads the answers of the token endpoint for golang.org/x/oauth2, which makes the requests. That
// package takes text/plain for a form, refuses 3600.0 seconds and a byte order mark, accepts any token_type, follows
// redirects, and quotes answers in its errors. So it only gets answers with a good token, in the plainest form.
type tokenTransport struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper]. Every error is a [*CallError] of the kind [ErrAccount].
func (t tokenTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, noAnswer(ErrAccount, TokenEndpoint, "no answer", err)
	}
	body, failed := plainToken(readAnswer(TokenEndpoint, response))
	if failed != nil {
		return nil, failed
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(bytes.NewReader(body)),
		Request:    request,
	}, nil
}

// plainToken returns the token of an answer in the plainest form (RFC 6749, section 5.1).
func plainToken(a answer) ([]byte, *CallError) {
	switch cause := a.tokenCause(); {
	case slices.Contains(oauthErrors, cause):
		return nil, a.failure(ErrAccount, cause, string(cause))
	case cause != "":
		return nil, a.failure(ErrAccount, cause, "")
	}
	token, _ := textOf(a.members.AccessToken)
	plain := struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in,omitzero"`
	}{strings.TrimSpace(token), "Bearer", lifetimeSeconds(a.members.ExpiresIn)}
	switch {
	case plain.AccessToken == "":
		return nil, a.failure(ErrAccount, causeNoToken, "")
	case strings.ContainsFunc(plain.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, a.failure(ErrAccount, causeBadToken, "") // no header may contain it
	case !isBearer(a.members.TokenType):
		return nil, a.failure(ErrAccount, causeBadTokenType, "")
	}
	body, err := json.Marshal(plain)
	if err != nil {
		return nil, a.failure(ErrAccount, causeBadToken, "")
	}
	return body, nil
}

// tokenCause returns why an answer of the token endpoint has no token; "" if it may have one.
func (a answer) tokenCause() Cause {
	code, said := a.said()
	cause := a.shape
	switch {
	case a.status/100 != 2:
		cause = a.statusCause()
	case said:
		cause = causeRejected
	}
	if cause == causeRejected && slices.Contains(oauthErrors, Cause(code)) {
		return Cause(code)
	}
	return cause
}

// isBearer reports whether a token_type is bearer, in any case, or absent.
func isBearer(value jsontext.Value) bool {
	name, ok := textOf(value)
	name = strings.TrimSpace(name)
	return absent(value) || ok && (name == "" || strings.EqualFold(name, "bearer"))
}

// lifetimeSeconds decodes an expires_in: a number in any form, or the text of one. It returns 0 for an unknown
// lifetime.
func lifetimeSeconds(value jsontext.Value) int64 {
	number, ok := textOf(value)
	if !ok {
		number = string(value)
	}
	seconds, _ := strconv.ParseFloat(strings.TrimSpace(number), 64) // infinite if out of range
	if !(seconds > 0) {                                             // this form also refuses NaN
		return 0
	}
	return int64(min(max(seconds, 1), math.MaxInt32))
}
