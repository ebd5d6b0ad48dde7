package auvious

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzPlainToken: for any answer of the token endpoint, plainToken returns a token that fits into a header, or an
// error that says what came in a few words.
func FuzzPlainToken(f *testing.F) {
	for _, seed := range []string{
		``, `null`, `{}`, `[]`, `<html>`, `{"access_token":"hush"}`, `{"access_token":"hush\r\n","token_type":"Bearer","expires_in":3.6e3}`,
		"\ufeff" + `{"access_token":" hush","expires_in":"3600"}`, `{"access_token":"hu\nsh"}`, `{"access_token":"hush","token_type":"mac"}`,
		`{"error":"invalid_client"}`, `{"ERROR":"hush","access_token":"hush"}`, `{"access_token":"\ud800","expires_in":1e999}`, "\x1f\x8b\x08",
	} {
		f.Add(200, seed)
		f.Add(401, seed)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		response := &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}
		plain, failed := plainToken(readAnswer(TokenEndpoint, response))
		if failed != nil {
			if len(failed.Detail) > 120 || failed.Kind != ErrAccount || !slices.Contains(Causes(), failed.Cause) {
				t.Errorf("got error %v of cause %q, want a short one of a known cause", failed, failed.Cause)
			}
			return
		}
		var token struct {
			AccessToken string `json:"access_token"`
			ExpiresIn   int64  `json:"expires_in"`
		}
		if err := json.Unmarshal(plain, &token); err != nil {
			t.Fatalf("decoding %q: %v", plain, err)
		}
		unfit := strings.ContainsFunc(token.AccessToken, func(r rune) bool { return r <= ' ' || r > '~' })
		if token.AccessToken == "" || unfit || token.ExpiresIn < 0 {
			t.Errorf("got token %q for %d seconds, want one for a header", token.AccessToken, token.ExpiresIn)
		}
	})
}

// FuzzRetryAfter: the delay is never negative and never above the maximum.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "7", "1.5", "-3", "NaN", "Inf", "1e999", "3, 7", "Wed, 21 Oct 2026 07:28:00 GMT", "2026-10-21T07:28:00Z"} {
		f.Add(seed, "")
		f.Add(seed, "Wed, 21 Oct 2026 07:27:00 GMT")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		header := http.Header{"Retry-After": {value}, "Date": {date}}
		if got := retryAfter(header, time.Now()); got < 0 || got > maxRetryAfter {
			t.Errorf("delay of %q: got %v, want from 0 to %v", value, got, maxRetryAfter)
		}
	})
}
