package auvious

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// endpoint is a token endpoint in memory, because the clock of a synctest bubble stands still during real I/O. Its
// n-th token is "token-n".
type endpoint struct {
	// lifetime is the JSON of expires_in; "" for none.
	lifetime string
	// takes is the duration of a call.
	takes time.Duration
	// fails makes the endpoint answer 503, with retryAfter as its header.
	fails      bool
	retryAfter string

	calls int
	// reports has an element for each reported failure: whether a caller gets it.
	reports []bool
}

var _ http.RoundTripper = (*endpoint)(nil)

// RoundTrip implements [http.RoundTripper].
func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	e.calls++
	name := fmt.Sprintf("token-%d", e.calls)
	select {
	case <-time.After(e.takes):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	status, body := http.StatusOK, `{"access_token":"`+name+`","token_type":"bearer"`
	if e.lifetime != "" {
		body += `,"expires_in":` + e.lifetime
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if e.fails {
		status = http.StatusServiceUnavailable
		header.Set("Retry-After", e.retryAfter)
	}
	return &http.Response{
		StatusCode: status,
		Header:     header,
		Body:       io.NopCloser(strings.NewReader(body + "}")),
		Request:    r,
	}, nil
}

// tokens returns a cache in front of the endpoint. The cache ends with the test.
func (e *endpoint) tokens(t *testing.T) *tokens {
	t.Helper()
	config := &clientcredentials.Config{
		ClientID: "id", ClientSecret: "hush", TokenURL: "https://auvious.test", AuthStyle: oauth2.AuthStyleInParams,
	}
	tokens := newTokens(config, e, 10*time.Second, func(_ *CallError, told bool) { e.reports = append(e.reports, told) })
	t.Cleanup(tokens.close)
	return tokens
}

// wantToken gets a token and compares its name and the number of all calls so far.
func (e *endpoint) wantToken(t *testing.T, tokens *tokens, want string, calls int) {
	t.Helper()
	got, err := tokens.get(t.Context())
	synctest.Wait() // for a fetch in the background
	if err != nil {
		t.Fatalf("getting a token: %v", err)
	}
	if got.authorization != "Bearer "+want || e.calls != calls {
		t.Errorf("got %s after %d calls, want %s after %d", got.authorization, e.calls, want, calls)
	}
}

// wantFailure gets no token, and compares the error and the number of all calls so far.
func (e *endpoint) wantFailure(t *testing.T, tokens *tokens, calls int) {
	t.Helper()
	_, err := tokens.get(t.Context())
	synctest.Wait()
	if !errors.Is(err, ErrAccount) || e.calls != calls {
		t.Errorf("got error %v after %d calls, want %v after %d", err, e.calls, ErrAccount, calls)
	}
}

// wantReports compares the reported failures: whether a caller got each.
func (e *endpoint) wantReports(t *testing.T, want ...bool) {
	t.Helper()
	if !slices.Equal(e.reports, want) {
		t.Errorf("reported failures: got %v, want %v", e.reports, want)
	}
}

// elapse moves the clock of the bubble.
func elapse(d time.Duration) { <-time.After(d) }

func TestTokenIsRenewedInTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{lifetime: "1000", takes: time.Second}
		tokens := e.tokens(t)
		e.wantToken(t, tokens, "token-1", 1)
		elapse(698 * time.Second)
		e.wantToken(t, tokens, "token-1", 1)
		elapse(102 * time.Second) // after four fifths of its lifetime
		e.wantToken(t, tokens, "token-1", 2)
		e.wantToken(t, tokens, "token-1", 2) // no second fetch meanwhile
		elapse(2 * time.Second)
		e.wantToken(t, tokens, "token-2", 2)
	})
}

func TestTokenServesUntilItExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{lifetime: "1000"}
		tokens := e.tokens(t)
		e.wantToken(t, tokens, "token-1", 1)
		e.fails = true
		elapse(994 * time.Second)
		e.wantToken(t, tokens, "token-1", 2) // the refresh fails, and the old token serves
		e.wantReports(t, false)
		elapse(time.Second) // it expires in five seconds: too soon to send it
		e.wantFailure(t, tokens, 3)
		e.wantReports(t, false, true)
		e.fails = false
		elapse(failureTTL)
		e.wantToken(t, tokens, "token-4", 4)
	})
}

// TestTokenOfAnyLifetime: the client refreshes a token before it expires, even after a short lifetime.
func TestTokenOfAnyLifetime(t *testing.T) {
	t.Parallel()
	for _, lifetime := range []time.Duration{1, 2, 5, 10, 30, 60, 3600, 86400} {
		lifetime *= time.Second
		t.Run(lifetime.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := &endpoint{lifetime: fmt.Sprint(lifetime.Seconds())}
				tokens := e.tokens(t)
				e.wantToken(t, tokens, "token-1", 1)
				elapse(lifetime * 85 / 100)
				e.wantToken(t, tokens, "token-1", 2)
				e.wantToken(t, tokens, "token-2", 2)
			})
		})
	}
}

// TestTokenWithoutLifetime: a token without a lifetime serves until auvious refuses it.
func TestTokenWithoutLifetime(t *testing.T) {
	t.Parallel()
	for _, lifetime := range []string{"", "0", "null", `""`, `"soon"`} {
		t.Run(lifetime, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := &endpoint{lifetime: lifetime}
				tokens := e.tokens(t)
				e.wantToken(t, tokens, "token-1", 1)
				elapse(10 * 365 * 24 * time.Hour)
				e.wantToken(t, tokens, "token-1", 1)
				if got, want := tokens.age(), 10*365*24*time.Hour; got != want {
					t.Errorf("age: got %v, want %v", got, want)
				}
				tokens.refuse(tokens.current.Load())
				e.wantToken(t, tokens, "token-2", 2)
			})
		})
	}
}

// TestLateRefresh: a caller that looked before a fetch ended makes no second fetch.
func TestLateRefresh(t *testing.T) {
	t.Parallel()
	for _, lifetime := range []string{"", "3600"} {
		synctest.Test(t, func(t *testing.T) {
			e := &endpoint{lifetime: lifetime}
			tokens := e.tokens(t)
			e.wantToken(t, tokens, "token-1", 1)
			got, err := tokens.refresh()
			if err != nil || got != tokens.current.Load() || e.calls != 1 {
				t.Errorf("with a lifetime of %q: got %v and error %v after %d calls, want token-1 after 1",
					lifetime, got, err, e.calls)
			}
		})
	}
}

func TestTokenRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{lifetime: "3600"}
		tokens := e.tokens(t)
		e.wantToken(t, tokens, "token-1", 1)
		first := tokens.current.Load()
		tokens.refuse(first)
		e.wantToken(t, tokens, "token-2", 2)
		tokens.refuse(first) // a late refusal
		e.wantToken(t, tokens, "token-2", 2)
	})
}

// TestTokenFailureAnswers: a failure answers further callers until failureTTL has passed.
func TestTokenFailureAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{fails: true}
		tokens := e.tokens(t)
		for second := range 3 {
			for range 100 {
				e.wantFailure(t, tokens, second+1)
			}
			elapse(failureTTL)
		}
		e.fails = false
		e.wantToken(t, tokens, "token-4", 4)
	})
}

// TestTokenFailureAsksForTime: a failure answers further callers for as long as it asks for, and tells them the rest.
func TestTokenFailureAsksForTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{fails: true, retryAfter: "29.5"}
		tokens := e.tokens(t)
		e.wantFailure(t, tokens, 1)
		e.fails = false
		elapse(20 * time.Second)
		_, err := tokens.get(t.Context())
		if failed, ok := errors.AsType[*CallError](err); !ok || failed.RetryAfter != 10*time.Second {
			t.Errorf("after 20s: got error %+v, want one with 10s left", err)
		}
		elapse(10 * time.Second)
		e.wantToken(t, tokens, "token-2", 2)
	})
}

// TestRetryAfterWithoutDate: without a time of the server, a date counts by our own clock.
func TestRetryAfterWithoutDate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, time.November, 28, 12, 0, 0, 0, time.UTC)
	header := http.Header{"Retry-After": {now.Add(20 * time.Second).Format(http.TimeFormat)}}
	if got := retryAfter(header, now); got != 20*time.Second {
		t.Errorf("got %v, want 20s", got)
	}
}

// TestTokenLifetimes: the forms in which a lifetime may come.
func TestTokenLifetimes(t *testing.T) {
	t.Parallel()
	for lifetime, want := range map[string]time.Duration{
		"3600": time.Hour, "3600.0": time.Hour, "3.6e3": time.Hour, `"3600"`: time.Hour, `"3600.0"`: time.Hour, `" 3600 "`: time.Hour,
		`""`: 0, `" "`: 0, "null": 0, "0": 0, `"0"`: 0, "-5": 0, `"NaN"`: 0, `"soon"`: 0, "true": 0, "[3600]": 0,
		"0.2": time.Second, "1.9": time.Second, "1e400": math.MaxInt32 * time.Second, "99999999999": math.MaxInt32 * time.Second,
	} {
		if got := time.Duration(lifetimeSeconds([]byte(lifetime))) * time.Second; got != want {
			t.Errorf("lifetime of %s: got %v, want %v", lifetime, got, want)
		}
	}
}

// TestTokenCallersDeadline: a caller stops waiting when its own context ends, and the fetch goes on.
func TestTokenCallersDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{takes: 5 * time.Second}
		tokens := e.tokens(t)
		began := time.Now()
		impatient, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		patient := make(chan error, 1)
		go func() {
			_, err := tokens.get(t.Context())
			patient <- err
		}()
		if _, err := tokens.get(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller with a deadline: got error %v, want %v", err, context.DeadlineExceeded)
		}
		if got := time.Since(began); got != 2*time.Second {
			t.Errorf("the caller with a deadline waited %v, want 2s", got)
		}
		if err := <-patient; err != nil {
			t.Errorf("the other caller: got error %v, want none", err)
		}
		if got := time.Since(began); got != 5*time.Second || e.calls != 1 {
			t.Errorf("the other caller waited %v for %d calls, want 5s for 1", got, e.calls)
		}
	})
}

// TestTokenFetchTimesOut: a fetch ends after its own timeout.
func TestTokenFetchTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{takes: time.Hour}
		tokens := e.tokens(t)
		began := time.Now()
		_, err := tokens.get(t.Context())
		failed, ok := errors.AsType[*CallError](err)
		if !ok || failed.Kind != ErrAccount || !strings.HasSuffix(failed.Detail, "timed out") {
			t.Errorf("got error %v, want %v: timed out", err, ErrAccount)
		}
		if got := time.Since(began); got != 10*time.Second {
			t.Errorf("the fetch took %v, want 10s", got)
		}
	})
}

// TestTokensClose: close ends a running fetch and waits for it.
func TestTokensClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{takes: time.Hour}
		tokens := e.tokens(t)
		ended := make(chan error, 1)
		go func() {
			_, err := tokens.get(t.Context())
			ended <- err
		}()
		synctest.Wait()
		began := time.Now()
		tokens.close()
		if err := <-ended; !errors.Is(err, ErrAccount) || time.Since(began) != 0 {
			t.Errorf("the caller: got error %v after %v, want %v at once", err, time.Since(began), ErrAccount)
		}
	})
}
