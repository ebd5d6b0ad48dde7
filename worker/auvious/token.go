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
	"golang.org/x/sync/singleflight"
)

const (
	// refreshFraction is the fraction of a token's lifetime after which the client fetches a new token. The old token
	// serves meanwhile.
	refreshFraction = 0.8
	// refreshJitter makes the fraction smaller by up to this much, so that many processes do not refresh together.
	refreshJitter = 0.1
	// failureTTL is how long the error of a failed fetch answers further callers, unless the answer asked for more.
	failureTTL = time.Second
	// expiryMargin is how long before its expiry a token counts as expired. So no token expires on its way.
	expiryMargin = 5 * time.Second
)

// tokens caches the access token that all calls share. It makes one fetch at a time. A caller waits for a fetch no
// longer than its own context lasts.
type tokens struct {
	config  *clientcredentials.Config
	http    *http.Client
	timeout time.Duration // of one fetch
	// report gets each failed fetch; see [Client.OnFailure].
	report func(failed *CallError, told bool)
	// fetched gets the end of each fetch; nil for nobody.
	fetched func(bool)
	current atomic.Pointer[accessToken]
	fetches singleflight.Group

	mu sync.Mutex
	// failed is the error of the last fetch; nil after a success. It answers all callers until nextFetch.
	failed    *CallError
	nextFetch time.Time

	// ctx is that of all fetches: a fetch belongs to the client, not to the caller that began it.
	ctx    context.Context
	cancel context.CancelFunc
}

// accessToken is a token with its times. They are readings of the monotonic clock, so a step of the wall clock does
// not move them.
type accessToken struct {
	// authorization is the value of the Authorization header.
	authorization string
	fetchedAt     time.Time
	// refreshAt and expiresAt are zero for a token without a lifetime. It serves until auvious refuses it.
	refreshAt, expiresAt time.Time
}

func newTokens(
	config *clientcredentials.Config, transport http.RoundTripper, timeout time.Duration, report func(*CallError, bool),
) *tokens {
	ctx, cancel := context.WithCancel(context.Background())
	return &tokens{
		config: config, http: &http.Client{Transport: tokenTransport{transport}}, timeout: timeout, report: report,
		ctx: ctx, cancel: cancel,
	}
}

// get returns a valid token. It returns the error of the context, or a [*CallError] of the kind [ErrAccount].
func (t *tokens) get(ctx context.Context) (*accessToken, error) {
	current, now := t.current.Load(), time.Now()
	if current.fresh(now) {
		return current, nil
	}
	fetched := t.fetches.DoChan("", t.refresh)
	if current.valid(now) {
		return current, nil
	}
	select {
	case result := <-fetched:
		token, _ := result.Val.(*accessToken)
		return token, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// refresh fetches a token and makes it the current one. Shortly after a failure it returns that failure instead. It
// returns the current token if another fetch ended since the caller looked.
func (t *tokens) refresh() (any, error) {
	now := time.Now()
	if failed := t.recentFailure(now); failed != nil {
		return nil, failed
	}
	current := t.current.Load()
	if current.fresh(now) {
		return current, nil
	}
	token, failed := t.fetch()
	if failed != nil && t.ctx.Err() == nil { // else close ended the fetch
		t.report(failed, !current.valid(now))
	}
	if t.fetched != nil && t.ctx.Err() == nil {
		t.fetched(failed == nil)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keep(failed)
	if failed != nil {
		return nil, failed
	}
	t.current.Store(token)
	return token, nil
}

// recentFailure returns the failure that answers callers now; nil if they may fetch.
func (t *tokens) recentFailure(now time.Time) *CallError {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait := t.nextFetch.Sub(now)
	if t.failed == nil || wait <= 0 {
		return nil
	}
	failed := *t.failed
	failed.RetryAfter = min(failed.RetryAfter, wait)
	return &failed
}

// keep keeps the failure of a fetch, or nil, for further callers. The next fetch waits as long as the failure asks
// for. The caller holds the lock.
func (t *tokens) keep(failed *CallError) {
	if t.failed = failed; failed != nil {
		t.nextFetch = time.Now().Add(max(failureTTL, failed.RetryAfter))
	}
}

// refuse drops a token that auvious refused. It returns false if another token replaced it already.
func (t *tokens) refuse(token *accessToken) bool { return t.current.CompareAndSwap(token, nil) }

// refuseAccount drops a token that auvious refused right after another one: auvious refuses the account. Further
// callers get failed for a while, because auvious would refuse their tokens, too.
func (t *tokens) refuseAccount(token *accessToken, failed *CallError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refuse(token) {
		t.keep(failed)
	}
}

// fetch asks the token endpoint for a token.
func (t *tokens) fetch() (*accessToken, *CallError) {
	ctx, cancel := context.WithTimeout(t.ctx, t.timeout)
	defer cancel()
	asked := time.Now()
	token, err := t.config.Token(context.WithValue(ctx, oauth2.HTTPClient, t.http))
	if failed, ok := errors.AsType[*CallError](err); ok {
		return nil, failed
	}
	if err != nil {
		return nil, noAnswer(ErrAccount, TokenEndpoint, "no request was sent", err)
	}
	fetched := &accessToken{authorization: token.Type() + " " + token.AccessToken, fetchedAt: asked}
	if !token.Expiry.IsZero() {
		lifetime := max(time.Until(token.Expiry), time.Second)
		fraction := refreshFraction - refreshJitter*rand.Float64()
		fetched.refreshAt = asked.Add(time.Duration(fraction * float64(lifetime)))
		// A short lifetime has a smaller margin, or the token would expire before its refresh.
		fetched.expiresAt = asked.Add(lifetime - min(expiryMargin, lifetime/10))
	}
	return fetched, nil
}

// valid reports whether the token can be used.
func (a *accessToken) valid(now time.Time) bool {
	return a != nil && (a.expiresAt.IsZero() || now.Before(a.expiresAt))
}

// fresh reports whether the token is valid and needs no refresh yet.
func (a *accessToken) fresh(now time.Time) bool {
	return a.valid(now) && (a.refreshAt.IsZero() || now.Before(a.refreshAt))
}

// age returns the age of the current token; 0 if there is none.
func (t *tokens) age() time.Duration {
	if token := t.current.Load(); token != nil {
		return time.Since(token.fetchedAt)
	}
	return 0
}

// close ends a running fetch and waits for it.
func (t *tokens) close() {
	t.cancel()
	<-t.fetches.DoChan("", t.refresh) // joins the running fetch; a new one fails at once
}
