package auvious

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	// fails makes the endpoint answer 503.
	fails bool

	calls int
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
	if e.fails {
		status = http.StatusServiceUnavailable
	}
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {"application/json"}},
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
	tokens := newTokens(config, &http.Client{Transport: e}, 10*time.Second)
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
		elapse(time.Second)                  // it expires in five seconds: too soon to send it
		e.wantFailure(t, tokens, 3)
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
	for _, lifetime := range []string{"", "0", "null"} {
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
