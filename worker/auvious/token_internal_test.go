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

// endpoint is a token endpoint in memory, so that a bubble's clock may run. The
// n-th token that it gives is named "token-n".
type endpoint struct {
	// lifetime is expires_in as it stands in JSON; "" leaves it out.
	lifetime string
	// takes is how long a call takes.
	takes time.Duration
	// fails has every call answered with 503.
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

// tokens returns a cache in front of the endpoint, that ends with the test.
func (e *endpoint) tokens(t *testing.T) *tokens {
	t.Helper()
	config := &clientcredentials.Config{
		ClientID: "id", ClientSecret: "hush", TokenURL: "https://auvious.test", AuthStyle: oauth2.AuthStyleInParams,
	}
	tokens := newTokens(config, &http.Client{Transport: e}, 10*time.Second)
	t.Cleanup(tokens.close)
	return tokens
}

// wantToken gets a token and compares its name, and how many calls that took in
// all.
func (e *endpoint) wantToken(t *testing.T, tokens *tokens, want string, calls int) {
	t.Helper()
	got, err := tokens.get(t.Context())
	synctest.Wait() // until a flight in the background has landed, or waits
	if err != nil {
		t.Fatalf("getting a token: %v", err)
	}
	if got.authorization[0] != "Bearer "+want || e.calls != calls {
		t.Errorf("got %s after %d calls, want %s after %d", got.authorization, e.calls, want, calls)
	}
}

// wantFailure wants no token, but an error that is the account's.
func (e *endpoint) wantFailure(t *testing.T, tokens *tokens, calls int) {
	t.Helper()
	_, err := tokens.get(t.Context())
	synctest.Wait()
	if !errors.Is(err, ErrAccount) || e.calls != calls {
		t.Errorf("got error %v after %d calls, want %v after %d", err, e.calls, ErrAccount, calls)
	}
}

// elapse lets the bubble's clock run.
func elapse(d time.Duration) { <-time.After(d) }

func TestTokenIsRenewedInTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{lifetime: "1000", takes: time.Second}
		tokens := e.tokens(t)
		e.wantToken(t, tokens, "token-1", 1)
		elapse(698 * time.Second)
		e.wantToken(t, tokens, "token-1", 1)
		elapse(102 * time.Second) // past four fifths of its life
		e.wantToken(t, tokens, "token-1", 2)
		e.wantToken(t, tokens, "token-1", 2) // one flight, however many ask
		elapse(2 * time.Second)
		e.wantToken(t, tokens, "token-2", 2)
	})
}

func TestTokenServesToItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{lifetime: "1000"}
		tokens := e.tokens(t)
		e.wantToken(t, tokens, "token-1", 1)
		e.fails = true
		elapse(994 * time.Second)
		e.wantToken(t, tokens, "token-1", 2) // its renewal fails, and it serves
		elapse(time.Second)                  // five seconds before its end it might end on its way
		e.wantFailure(t, tokens, 3)
		e.fails = false
		elapse(negativeFor)
		e.wantToken(t, tokens, "token-4", 4)
	})
}

// TestTokenOfAnyLifetime is renewed before it ends, however short its life.
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

// TestTokenWithoutLifetime serves until it is refused.
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

// TestTokenLookedUpLate: a caller that looked before a flight landed begins no
// other one.
func TestTokenLookedUpLate(t *testing.T) {
	t.Parallel()
	for _, lifetime := range []string{"", "3600"} {
		synctest.Test(t, func(t *testing.T) {
			e := &endpoint{lifetime: lifetime}
			tokens := e.tokens(t)
			e.wantToken(t, tokens, "token-1", 1)
			f, err := tokens.join(time.Now())
			if err != nil {
				t.Fatalf("joining a flight: %v", err)
			}
			<-f.landed
			if f.token.authorization[0] != "Bearer token-1" || e.calls != 1 {
				t.Errorf("with a lifetime of %q: got %s after %d calls, want token-1 after 1",
					lifetime, f.token.authorization, e.calls)
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
		tokens.refuse(first) // a refusal that comes late
		e.wantToken(t, tokens, "token-2", 2)
	})
}

// TestTokenFailureAnswersForASecond, and not longer.
func TestTokenFailureAnswersForASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{fails: true}
		tokens := e.tokens(t)
		for second := range 3 {
			for range 100 {
				e.wantFailure(t, tokens, second+1)
			}
			elapse(negativeFor)
		}
		e.fails = false
		e.wantToken(t, tokens, "token-4", 4)
	})
}

// TestTokenCallersWaitForThemselves: each as long as its own context lasts, and
// the flight as long as it takes.
func TestTokenCallersWaitForThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{takes: 5 * time.Second}
		tokens := e.tokens(t)
		began := time.Now()
		hasty, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		patient := make(chan error, 1)
		go func() {
			_, err := tokens.get(t.Context())
			patient <- err
		}()
		if _, err := tokens.get(hasty); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the hasty caller: got error %v, want %v", err, context.DeadlineExceeded)
		}
		if got := time.Since(began); got != 2*time.Second {
			t.Errorf("the hasty caller waited %v, want 2s", got)
		}
		if err := <-patient; err != nil {
			t.Errorf("the patient caller: got error %v, want none", err)
		}
		if got := time.Since(began); got != 5*time.Second || e.calls != 1 {
			t.Errorf("the patient caller waited %v for %d calls, want 5s for 1", got, e.calls)
		}
	})
}

// TestTokenFetchTimesOut, whatever the caller's own context allows.
func TestTokenFetchTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{takes: time.Hour}
		tokens := e.tokens(t)
		began := time.Now()
		_, err := tokens.get(t.Context())
		var failed *CallError
		if !errors.As(err, &failed) || !errors.Is(err, ErrAccount) || !strings.HasSuffix(failed.Detail, "timed out") {
			t.Errorf("got error %v, want %v: timed out", err, ErrAccount)
		}
		if got := time.Since(began); got != 10*time.Second {
			t.Errorf("the fetch took %v, want 10s", got)
		}
	})
}

// TestTokensClose ends the flight and waits for it.
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
		if tokens.flight != nil {
			t.Error("after close: got a flight, want none")
		}
		if err := <-ended; !errors.Is(err, ErrAccount) || time.Since(began) != 0 {
			t.Errorf("the caller: got error %v after %v, want %v at once", err, time.Since(began), ErrAccount)
		}
	})
}
