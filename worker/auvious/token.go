package auvious

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	// refreshAt is the part of its lifetime after which a token is renewed while
	// the old one still serves.
	refreshAt = 0.8
	// refreshSpread keeps many processes from renewing in the same moment.
	refreshSpread = 0.1
	// negativeFor is how long a failure answers for those who ask next.
	negativeFor = time.Second
	// expiryMargin is how long before its end a token counts as ended, so that it
	// does not end on its way.
	expiryMargin = 5 * time.Second
)

// tokens gives out an access token that all calls share. One flight at a time
// fetches another; a caller waits for it no longer than its own context.
type tokens struct {
	config *clientcredentials.Config
	http   *http.Client
	// timeout of one fetch.
	timeout time.Duration

	current atomic.Pointer[cached]

	mu sync.Mutex
	// flight is nil while nobody fetches.
	flight *flight
	failed *failure

	// Flights belong to the service, not to the call that began them.
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// cached is a token with the times by the process' own clock, which no step of
// the wall clock moves.
type cached struct {
	// authorization is the header of that name.
	authorization []string
	since         time.Time
	// refresh and ends are zero for a token that says nothing of its lifetime; it
	// serves until it is refused.
	refresh, ends time.Time
}

type flight struct {
	landed chan struct{}
	token  *cached
	err    error
}

type failure struct {
	err error
	at  time.Time
}

func newTokens(config *clientcredentials.Config, client *http.Client, timeout time.Duration) *tokens {
	ctx, cancel := context.WithCancel(context.Background())
	return &tokens{config: config, http: client, timeout: timeout, ctx: ctx, cancel: cancel}
}

// get returns a token that serves. It returns the caller's context error, or a
// [*CallError] of the kind [ErrAccount].
func (t *tokens) get(ctx context.Context) (*cached, error) {
	now := time.Now()
	if token := t.current.Load(); token.serves(now) {
		if token.ages(now) {
			_, _ = t.join(now) // while the old one serves nobody waits for it
		}
		return token, nil
	}
	f, err := t.join(now)
	if err != nil {
		return nil, err
	}
	select {
	case <-f.landed:
		return f.token, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refuse drops a token that auvious did not take, unless another one has taken
// its place.
func (t *tokens) refuse(token *cached) { t.current.CompareAndSwap(token, nil) }

// refuseAgain does so for the token of a call that was refused with another one
// before. It is the account that is not let in, and the failure answers for those
// who ask next: each of them would only fetch one more token to be refused.
func (t *tokens) refuseAgain(token *cached, failed error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.CompareAndSwap(token, nil) {
		t.failed = &failure{err: failed, at: time.Now()}
	}
}

// join returns the flight that is under way, or begins one. Shortly after a
// failed one it returns that one's error instead.
func (t *tokens) join(now time.Time) (*flight, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flight != nil {
		return t.flight, nil
	}
	if t.failed != nil && now.Sub(t.failed.at) < negativeFor {
		return nil, t.failed.err
	}
	f := &flight{landed: make(chan struct{})}
	if token := t.current.Load(); token.serves(now) && !token.ages(now) {
		f.token = token
		close(f.landed) // another flight landed since the caller looked
		return f, nil
	}
	t.flight = f
	t.done.Go(func() { t.fly(f) })
	return f, nil
}

func (t *tokens) fly(f *flight) {
	f.token, f.err = t.fetch()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flight, t.failed = nil, nil
	if f.err != nil {
		t.failed = &failure{err: f.err, at: time.Now()}
	} else {
		t.current.Store(f.token)
	}
	close(f.landed)
}

func (t *tokens) fetch() (*cached, error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.timeout)
	defer cancel()
	asked := time.Now()
	token, err := t.config.Token(context.WithValue(ctx, oauth2.HTTPClient, t.http))
	if err != nil {
		return nil, tokenError(err)
	}
	got := &cached{authorization: []string{token.Type() + " " + token.AccessToken}, since: asked}
	if lifetime := lifetime(token, time.Now()); lifetime > 0 {
		part := refreshAt - refreshSpread*rand.Float64()
		got.refresh = asked.Add(time.Duration(part * float64(lifetime)))
		// The margin of a short life is a part of it, or the end would come before
		// the renewal.
		got.ends = asked.Add(lifetime - min(expiryMargin, lifetime/10))
	}
	return got, nil
}

// lifetime is how long a token that just came is valid; 0 if it does not say.
func lifetime(token *oauth2.Token, now time.Time) time.Duration {
	if token.ExpiresIn > 0 {
		return time.Duration(token.ExpiresIn) * time.Second
	}
	if token.Expiry.IsZero() {
		return 0
	}
	return max(token.Expiry.Sub(now), time.Second)
}

// tokenError says what failed without the answer's body, which may quote what
// was sent.
func tokenError(err error) *CallError {
	failed := &CallError{Kind: ErrAccount}
	var answer *oauth2.RetrieveError
	if !errors.As(err, &answer) || answer.Response == nil {
		failed.Detail = "no token could be fetched" + reasonOf(err)
		return failed
	}
	failed.Status = answer.Response.StatusCode
	failed.RetryAfter = retryAfter(answer.Response.Header, time.Now())
	failed.Detail = "the token endpoint gave no token"
	if known[answer.ErrorCode] {
		failed.Detail += ": " + answer.ErrorCode
	}
	return failed
}

// known are the error codes of RFC 6749, section 5.2. Nothing else of the
// answer is quoted.
var known = map[string]bool{
	"invalid_request": true, "invalid_client": true, "invalid_grant": true,
	"unauthorized_client": true, "unsupported_grant_type": true, "invalid_scope": true,
}

// serves reports whether a token can be used at a time.
func (c *cached) serves(now time.Time) bool {
	return c != nil && (c.ends.IsZero() || now.Before(c.ends))
}

// ages reports whether a token that serves should be renewed meanwhile.
func (c *cached) ages(now time.Time) bool {
	return !c.refresh.IsZero() && !now.Before(c.refresh)
}

// age of the token that is in use; 0 if there is none.
func (t *tokens) age() time.Duration {
	if token := t.current.Load(); token != nil {
		return time.Since(token.since)
	}
	return 0
}

// close ends a flight that is under way and waits for it.
func (t *tokens) close() {
	t.cancel()
	t.done.Wait()
}
