package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"roomlink/internal/accounts"
	"roomlink/internal/secret"
)

var (
	// ErrNoCredentials refuses a request without credentials.
	ErrNoCredentials = errors.New("credentials are missing: send X-API-Key, HTTP Basic or a bearer token")
	// ErrBadCredentials refuses credentials that belong to no account.
	ErrBadCredentials = errors.New("the credentials are not valid")
	// ErrTooManyFailures refuses bad credentials while too many other requests with bad
	// credentials wait for their answer.
	ErrTooManyFailures = errors.New("too many requests with invalid credentials")
	// ErrShared refuses a configuration that contains the same credential twice.
	ErrShared = errors.New("the same credential is given twice")
	// ErrNoSecret refuses a configured credential with an empty secret.
	ErrNoSecret = errors.New("a credential has no secret")
	// ErrNobody refuses a configuration that lets nobody in.
	ErrNobody = errors.New("no credentials are configured")
)

// The kinds of credentials.
const (
	KindAPIKey = "api_key"
	KindBasic  = "basic"
	KindBearer = "bearer"
	KindNone   = "none"
	// KindSignedURL is the kind of a page's address, which the viewer checks.
	KindSignedURL = "signed_url"
)

// Identity is the sender of a request.
type Identity struct {
	Account string
	// Credential is the name of the credential in the request.
	Credential string
	// Kind is one of the Kind constants.
	Kind string
}

// Config configures an [Authenticator].
type Config struct {
	Accounts []accounts.Account
	Keys     *Keys
	// TokenLifetime is how long an access token is valid.
	TokenLifetime time.Duration
	// Open is the account of every request if no credentials are configured. Use it on
	// loopback only. "" refuses every request then.
	Open string
	// FailureDelay delays the answer to bad credentials, which slows guessing down;
	// [DefaultFailureDelay] if 0. Good credentials never wait, so guessing cannot lock an
	// account out.
	FailureDelay time.Duration
	// Registerer registers the metrics; nil for none.
	Registerer prometheus.Registerer
	// Label returns the label of an account in the metrics; nil for its name. It bounds the series.
	Label func(account string) string
}

const (
	// DefaultFailureDelay is the default of [Config.FailureDelay].
	DefaultFailureDelay = 500 * time.Millisecond
	// maxDelayed bounds the number of requests that wait at the same time.
	maxDelayed = 256
)

// Authenticator checks credentials. It may be used by many goroutines at once. It is also
// the [prometheus.Collector] of the last uses of the credentials.
type Authenticator struct {
	config Config
	// pepper is the HMAC key of the digests. With a digest, a map lookup reveals nothing
	// by its duration: digests of similar secrets have nothing in common.
	pepper   []byte
	index    atomic.Pointer[index]
	delayed  chan struct{}
	failures prometheus.Counter
}

// index finds identities. It is never changed, only replaced.
type index struct {
	credentials map[digest]*credential
	// clients finds the client of an access token. Each client has one entry for each
	// link key.
	clients map[client]*credential
}

// credential is a configured credential and its last use, in seconds of Unix time; 0 for none.
type credential struct {
	Identity
	used atomic.Int64
}

type digest [sha256.Size]byte

// client is the subject of an access token. fingerprint identifies the client's secret.
type client struct{ account, id, fingerprint string }

// NewAuthenticator indexes the credentials of all accounts. It returns an error that wraps
// [ErrShared] or [ErrNoSecret], or [ErrNobody] if there are no credentials and
// [Config.Open] is "".
func NewAuthenticator(config Config) (*Authenticator, error) {
	if config.FailureDelay == 0 {
		config.FailureDelay = DefaultFailureDelay
	}
	a := &Authenticator{
		config:  config,
		pepper:  make([]byte, sha256.Size),
		delayed: make(chan struct{}, maxDelayed),
		failures: promauto.With(config.Registerer).NewCounter(prometheus.CounterOpts{
			Name: "roomlink_authentication_failures_total",
			Help: "Requests with missing or invalid credentials. Sum over processes.",
		}),
	}
	_, _ = rand.Read(a.pepper) // it never fails
	if err := a.SetAccounts(config.Accounts); err != nil {
		return nil, err
	}
	if config.Registerer != nil {
		config.Registerer.MustRegister(a)
	}
	return a, nil
}

// SetAccounts replaces all credentials. It returns the errors of [NewAuthenticator], and
// changes nothing then.
func (a *Authenticator) SetAccounts(accounts []accounts.Account) error {
	next := &index{credentials: map[digest]*credential{}, clients: map[client]*credential{}}
	for _, account := range accounts {
		if err := a.add(next, account); err != nil {
			return err
		}
	}
	if len(next.credentials) == 0 && a.config.Open == "" {
		return ErrNobody
	}
	if before := a.index.Load(); before != nil {
		next.keepUses(before)
	}
	a.index.Store(next)
	return nil
}

func (a *Authenticator) add(next *index, account accounts.Account) error {
	var err error
	add := func(kind, name, id string, secret secret.String) {
		if err == nil {
			err = a.addCredential(next, Identity{account.Name, name, kind}, id, secret)
		}
	}
	for _, key := range account.Talkdesk.APIKeys {
		add(KindAPIKey, key.Name, "", key.Key)
	}
	for _, basic := range account.Talkdesk.Basic {
		add(KindBasic, basic.Name, basic.User, basic.Password)
	}
	for _, client := range account.Talkdesk.Clients {
		add(KindBearer, client.Name, client.ID, client.Secret)
	}
	return err
}

func (a *Authenticator) addCredential(next *index, identity Identity, id string, secret secret.String) error {
	if secret == "" {
		return fmt.Errorf("%w: %s %q of account %q", ErrNoSecret, identity.Kind, identity.Credential, identity.Account)
	}
	key := a.digest(identity.Kind, id, secret.Reveal())
	if other, taken := next.credentials[key]; taken {
		return fmt.Errorf("%w: %s %q of account %q is also %q of account %q",
			ErrShared, identity.Kind, identity.Credential, identity.Account, other.Credential, other.Account)
	}
	known := &credential{Identity: identity}
	next.credentials[key] = known
	if identity.Kind == KindBearer {
		for _, fingerprint := range a.config.Keys.fingerprints(id, secret) {
			next.clients[client{identity.Account, id, fingerprint}] = known
		}
	}
	return nil
}

// slow counts a failure and returns it after the delay.
func (a *Authenticator) slow(ctx context.Context, failure error) error {
	a.failures.Inc()
	select {
	case a.delayed <- struct{}{}:
		defer func() { <-a.delayed }()
	default:
		return ErrTooManyFailures
	}
	select {
	case <-time.After(a.config.FailureDelay):
	case <-ctx.Done():
	}
	return failure
}

// Authenticate returns the identity behind the credentials of a request: an API key in
// X-API-Key, HTTP Basic (RFC 7617) or a bearer access token that [Authenticator.Issue]
// made (RFC 6750). Bad credentials wait for [Config.FailureDelay] or until the request's
// context ends. It returns [ErrNoCredentials], [ErrBadCredentials] or
// [ErrTooManyFailures].
func (a *Authenticator) Authenticate(r *http.Request, now time.Time) (Identity, error) {
	identity, err := a.identify(r, now)
	if err != nil {
		return Identity{}, a.slow(r.Context(), err)
	}
	return identity, nil
}

func (a *Authenticator) identify(r *http.Request, now time.Time) (Identity, error) {
	if len(a.index.Load().credentials) == 0 {
		return Identity{Account: a.config.Open, Kind: KindNone}, nil
	}
	if key := r.Header.Get("X-API-Key"); key != "" {
		return a.find(KindAPIKey, "", key, now)
	}
	if user, password, ok := r.BasicAuth(); ok {
		return a.find(KindBasic, user, password, now)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return a.bearer(strings.TrimSpace(token), now)
	case scheme != "":
		return Identity{}, ErrBadCredentials
	}
	return Identity{}, ErrNoCredentials
}

func (a *Authenticator) bearer(token string, now time.Time) (Identity, error) {
	claims, err := a.config.Keys.Verify(token, PurposeAccess, now)
	if err != nil {
		return Identity{}, ErrBadCredentials
	}
	id, fingerprint, _ := strings.Cut(claims.Subject, "\x00")
	known, ok := a.index.Load().clients[client{claims.Account, id, fingerprint}]
	if !ok {
		return Identity{}, ErrBadCredentials
	}
	known.used.Store(now.Unix())
	return known.Identity, nil
}

// Issue makes an access token for the client with the given id and secret. It returns
// the client's identity, the token and the token's lifetime. The token becomes invalid
// early when the client's secret changes. Bad credentials wait as in
// [Authenticator.Authenticate]. It returns [ErrBadCredentials] or [ErrTooManyFailures].
func (a *Authenticator) Issue(
	ctx context.Context, id, clientSecret string, now time.Time,
) (Identity, string, time.Duration, error) {
	identity, err := a.find(KindBearer, id, clientSecret, now)
	if err != nil {
		return Identity{}, "", 0, a.slow(ctx, err)
	}
	fingerprint := a.config.Keys.fingerprints(id, secret.String(clientSecret))[0]
	token := a.config.Keys.Sign(Claims{
		Purpose: PurposeAccess,
		Account: identity.Account,
		Subject: id + "\x00" + fingerprint,
		Expires: now.Add(a.config.TokenLifetime),
	})
	return identity, token, a.config.TokenLifetime, nil
}

func (a *Authenticator) find(kind, id, password string, now time.Time) (Identity, error) {
	known, ok := a.index.Load().credentials[a.digest(kind, id, password)]
	if !ok {
		return Identity{}, ErrBadCredentials
	}
	known.used.Store(now.Unix())
	return known.Identity, nil
}

func (a *Authenticator) digest(kind, id, password string) digest {
	body := make([]byte, 0, 3*8+len(kind)+len(id)+len(password))
	for _, part := range []string{kind, id, password} {
		body = binary.BigEndian.AppendUint64(body, uint64(len(part)))
		body = append(body, part...)
	}
	return digest(mac(a.pepper, body))
}
