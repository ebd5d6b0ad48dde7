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
	// failureTTL is how long the error of a failed fetch answers further callers.
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
	current atomic.Pointer[accessToken]
	fetches singleflight.Group

	mu sync.Mutex
	// failed is the error of the last fetch; nil after a success.
	failed   error
	failedAt time.Time

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

func newTokens(config *clientcredentials.Config, client *http.Client, timeout time.Duration) *tokens {
	ctx, cancel := context.WithCancel(context.Background())
	return &tokens{config: config, http: client, timeout: timeout, ctx: ctx, cancel: cancel}
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
	t.mu.Lock()
	failed, failedAt := t.failed, t.failedAt
	t.mu.Unlock()
	if failed != nil && now.Sub(failedAt) < failureTTL {
		return nil, failed
	}
	if current := t.current.Load(); current.fresh(now) {
		return current, nil
	}
	token, err := t.fetch()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed, t.failedAt = err, time.Now()
	if err != nil {
		return nil, err
	}
	t.current.Store(token)
	return token, nil
}

// refuse drops a token that auvious refused, unless another token replaced it already.
func (t *tokens) refuse(token *accessToken) { t.current.CompareAndSwap(token, nil) }

// refuseAccount drops a token that auvious refused right after another one: auvious refuses the account. Further
// callers get failed until [failureTTL] has passed, because auvious would refuse their tokens, too.
func (t *tokens) refuseAccount(token *accessToken, failed error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.CompareAndSwap(token, nil) {
		t.failed, t.failedAt = failed, time.Now()
	}
}

// fetch asks the token endpoint for a token.
func (t *tokens) fetch() (*accessToken, error) {
	ctx, cancel := context.WithTimeout(t.ctx, t.timeout)
	defer cancel()
	asked := time.Now()
	token, err := t.config.Token(context.WithValue(ctx, oauth2.HTTPClient, t.http))
	if err != nil {
		return nil, tokenError(err)
	}
	fetched := &accessToken{authorization: token.Type() + " " + token.AccessToken, fetchedAt: asked}
	if lifetime := lifetime(token, time.Now()); lifetime > 0 {
		fraction := refreshFraction - refreshJitter*rand.Float64()
		fetched.refreshAt = asked.Add(time.Duration(fraction * float64(lifetime)))
		// A short lifetime has a smaller margin, or the token would expire before its refresh.
		fetched.expiresAt = asked.Add(lifetime - min(expiryMargin, lifetime/10))
	}
	return fetched, nil
}

// lifetime returns how long a new token is valid; 0 if the answer does not say.
func lifetime(token *oauth2.Token, now time.Time) time.Duration {
	if token.ExpiresIn > 0 {
		return time.Duration(token.ExpiresIn) * time.Second
	}
	if token.Expiry.IsZero() {
		return 0
	}
	return max(token.Expiry.Sub(now), time.Second)
}

// tokenError describes a failed fetch. It does not quote the answer, which may repeat the client secret.
func tokenError(err error) *CallError {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || answer.Response == nil {
		return &CallError{Kind: ErrAccount, Detail: "the token could not be fetched" + reasonOf(err)}
	}
	failed := &CallError{
		Kind:       ErrAccount,
		Status:     answer.Response.StatusCode,
		RetryAfter: retryAfter(answer.Response.Header, time.Now()),
		Detail:     "the token endpoint returned no token",
	}
	if oauthErrors[answer.ErrorCode] {
		failed.Detail += ": " + answer.ErrorCode
	}
	return failed
}

// oauthErrors are the error codes of RFC 6749, section 5.2.
var oauthErrors = map[string]bool{
	"invalid_request": true, "invalid_client": true, "invalid_grant": true,
	"unauthorized_client": true, "unsupported_grant_type": true, "invalid_scope": true,
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
