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

	"roomlink/internal/secret"
)

var (
	// ErrNoCredentials says that a request has no credentials at all.
	ErrNoCredentials = errors.New("credentials are missing: send X-API-Key, HTTP Basic or a bearer token")
	// ErrBadCredentials says that the credentials are nobody's.
	ErrBadCredentials = errors.New("the credentials are not valid")
	// ErrShared refuses a credential that is given twice.
	ErrShared = errors.New("the same credential is given twice")
	// ErrNoSecret refuses a credential that anybody could give.
	ErrNoSecret = errors.New("a credential has no secret")
	// ErrTooManyFailures answers bad credentials while too many others are being
	// slowed down.
	ErrTooManyFailures = errors.New("the credentials are not valid, and many others are not either")
	// ErrNobody refuses a directory that lets nobody in.
	ErrNobody = errors.New("no credentials are configured")
)

// The kinds of credentials.
const (
	KindAPIKey = "api_key"
	KindBasic  = "basic"
	KindBearer = "bearer"
	KindNone   = "none"
)

// Credential is one way into an account.
type Credential struct {
	// Name says which one it is, in logs; it is no secret.
	Name string
	// ID is the user of HTTP Basic or the id of a client; "" for an API key.
	ID     string
	Secret secret.String
}

// Account is what opens one account.
type Account struct {
	Name    string
	APIKeys []Credential
	Basic   []Credential
	Clients []Credential
}

// Empty reports whether nothing opens the account.
func (a Account) Empty() bool { return len(a.APIKeys)+len(a.Basic)+len(a.Clients) == 0 }

// Identity is who a request comes from.
type Identity struct {
	Account string
	// Credential is the name of the one that was used.
	Credential string
	// Kind is one of the Kind constants.
	Kind string
}

// Config makes a [Directory].
type Config struct {
	Accounts []Account
	Keys     *Keys
	// TokenLifetime is how long an access token is valid.
	TokenLifetime time.Duration
	// Open lets everybody into this account if no credentials are configured at
	// all. It is for loopback alone; "" for nobody.
	Open string
	// FailureDelay is how long bad credentials wait for their answer;
	// [DefaultFailureDelay] if 0. Good ones never wait, so nobody can lock an
	// account out.
	FailureDelay time.Duration
	// Registerer takes the metrics; nil for none.
	Registerer prometheus.Registerer
}

const (
	// DefaultFailureDelay slows guessing down, and is nothing to somebody who typed
	// it wrong.
	DefaultFailureDelay = 500 * time.Millisecond
	// maxDelayed bounds how many bad credentials wait at once.
	maxDelayed = 256
)

// Directory knows all credentials. It may be used by many goroutines at once.
type Directory struct {
	config Config
	// pepper keys the digests below. Whoever guesses cannot tell how near a guess
	// came, since digests of nearly the same text have nothing in common.
	pepper   *signer
	index    atomic.Pointer[index]
	delayed  chan struct{}
	failures prometheus.Counter
}

// index is what the directory knows at one time.
type index struct {
	holders map[digest]Identity
	// clients of access tokens, under the fingerprints of their secrets: one for
	// each link key.
	clients map[client]Identity
}

type digest [sha256.Size]byte

// client is what an access token names.
type client struct{ account, id, fingerprint string }

// NewDirectory checks and indexes credentials. It returns an error that wraps
// [ErrShared] or [ErrNoSecret], or [ErrNobody] if there are none and the directory
// is not open.
func NewDirectory(config Config) (*Directory, error) {
	if config.FailureDelay == 0 {
		config.FailureDelay = DefaultFailureDelay
	}
	d := &Directory{
		config:  config,
		delayed: make(chan struct{}, maxDelayed),
		failures: promauto.With(config.Registerer).NewCounter(prometheus.CounterOpts{
			Name: "roomlink_authentication_failures_total",
			Help: "Requests without good credentials.",
		}),
	}
	pepper := make([]byte, sha256.Size)
	_, _ = rand.Read(pepper) // it never fails
	d.pepper = newSigner(pepper)
	if err := d.SetAccounts(config.Accounts); err != nil {
		return nil, err
	}
	return d, nil
}

// SetAccounts replaces all credentials for the requests that come from now on. It
// returns the errors of [NewDirectory], and then nothing has changed.
func (d *Directory) SetAccounts(accounts []Account) error {
	next := &index{holders: map[digest]Identity{}, clients: map[client]Identity{}}
	for _, account := range accounts {
		if err := d.add(next, account); err != nil {
			return err
		}
	}
	if len(next.holders) == 0 && d.config.Open == "" {
		return ErrNobody
	}
	d.index.Store(next)
	return nil
}

func (d *Directory) add(next *index, account Account) error {
	for _, group := range []struct {
		kind        string
		credentials []Credential
	}{{KindAPIKey, account.APIKeys}, {KindBasic, account.Basic}, {KindBearer, account.Clients}} {
		for _, c := range group.credentials {
			if c.Secret == "" {
				return fmt.Errorf("%w: %s %q of account %q", ErrNoSecret, group.kind, c.Name, account.Name)
			}
			key := d.digest(group.kind, c.ID, c.Secret.Reveal())
			if other, taken := next.holders[key]; taken {
				return fmt.Errorf("%w: %s %q of account %q is also %q of account %q",
					ErrShared, group.kind, c.Name, account.Name, other.Credential, other.Account)
			}
			identity := Identity{Account: account.Name, Credential: c.Name, Kind: group.kind}
			next.holders[key] = identity
			if group.kind == KindBearer {
				for _, fingerprint := range d.config.Keys.fingerprints(c.ID, c.Secret) {
					next.clients[client{account.Name, c.ID, fingerprint}] = identity
				}
			}
		}
	}
	return nil
}

// Admit is [Directory.Authenticate] for a server: bad credentials wait before
// they are told, or are answered [ErrTooManyFailures].
func (d *Directory) Admit(r *http.Request, now time.Time) (Identity, error) {
	identity, err := d.Authenticate(r, now)
	if err == nil {
		return identity, nil
	}
	return identity, d.slow(r.Context(), err)
}

// Grant is [Directory.Issue] for a server, as [Directory.Admit] is.
func (d *Directory) Grant(
	ctx context.Context, id, clientSecret string, now time.Time,
) (Identity, string, time.Duration, error) {
	identity, token, lifetime, err := d.Issue(id, clientSecret, now)
	if err != nil {
		err = d.slow(ctx, err)
	}
	return identity, token, lifetime, err
}

// slow counts a failure, and waits before it returns it.
func (d *Directory) slow(ctx context.Context, failure error) error {
	d.failures.Inc()
	select {
	case d.delayed <- struct{}{}:
		defer func() { <-d.delayed }()
	default:
		return ErrTooManyFailures
	}
	timer := time.NewTimer(d.config.FailureDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return failure
}

// Authenticate finds whose credentials a request has: the API key, HTTP Basic
// (RFC 7617) or an access token of ours (RFC 6750). It returns
// [ErrNoCredentials] or [ErrBadCredentials].
func (d *Directory) Authenticate(r *http.Request, now time.Time) (Identity, error) {
	if len(d.index.Load().holders) == 0 {
		return Identity{Account: d.config.Open, Kind: KindNone}, nil
	}
	if key := r.Header.Get("X-API-Key"); key != "" {
		return d.find(KindAPIKey, "", key)
	}
	if user, password, ok := r.BasicAuth(); ok {
		return d.find(KindBasic, user, password)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return d.bearer(strings.TrimSpace(token), now)
	case scheme != "":
		return Identity{}, ErrBadCredentials
	}
	return Identity{}, ErrNoCredentials
}

func (d *Directory) bearer(token string, now time.Time) (Identity, error) {
	claims, err := d.config.Keys.Verify(token, PurposeAccess, now)
	if err != nil {
		return Identity{}, ErrBadCredentials
	}
	id, fingerprint, _ := strings.Cut(claims.Subject, "\x00")
	identity, ok := d.index.Load().clients[client{claims.Account, id, fingerprint}]
	if !ok {
		return Identity{}, ErrBadCredentials
	}
	return identity, nil
}

// Issue makes an access token for a client that names its id and secret, and
// says whose it is and how long it is valid. It dies early when the client's
// secret is changed. It returns [ErrBadCredentials].
func (d *Directory) Issue(id, clientSecret string, now time.Time) (Identity, string, time.Duration, error) {
	identity, err := d.find(KindBearer, id, clientSecret)
	if err != nil {
		return Identity{}, "", 0, err
	}
	fingerprint := d.config.Keys.fingerprints(id, secret.String(clientSecret))[0]
	token := d.config.Keys.Sign(Claims{
		Purpose: PurposeAccess,
		Account: identity.Account,
		Subject: id + "\x00" + fingerprint,
		Expires: now.Add(d.config.TokenLifetime),
	})
	return identity, token, d.config.TokenLifetime, nil
}

func (d *Directory) find(kind, id, password string) (Identity, error) {
	identity, ok := d.index.Load().holders[d.digest(kind, id, password)]
	if !ok {
		return Identity{}, ErrBadCredentials
	}
	return identity, nil
}

func (d *Directory) digest(kind, id, password string) digest {
	body := make([]byte, 0, 3*8+len(kind)+len(id)+len(password))
	for _, part := range []string{kind, id, password} {
		body = binary.BigEndian.AppendUint64(body, uint64(len(part)))
		body = append(body, part...)
	}
	return d.pepper.sum(body)
}
