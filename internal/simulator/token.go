package simulator

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// maxTokens bounds the number of valid tokens. Another token evicts the oldest.
const maxTokens = 10_000

// Error codes of RFC 6749, section 5.2.
const (
	invalidClient        = "invalid_client"
	invalidRequest       = "invalid_request"
	unsupportedGrantType = "unsupported_grant_type"
)

// issuer checks credentials and issues tokens.
type issuer struct {
	lifetime time.Duration // negative if tokens never expire
	now      func() time.Time

	mu         sync.RWMutex
	id, secret [sha256.Size]byte // hashed, so that comparisons do not reveal a length
	expiries   map[string]time.Time
	order      []string // the tokens, oldest first
	first      string   // the first token of all
}

func newIssuer(config Config) *issuer {
	i := &issuer{lifetime: config.TokenLifetime, now: config.Now}
	i.setCredentials(config.ClientID, config.ClientSecret)
	return i
}

// setCredentials replaces the credentials and revokes all tokens.
func (i *issuer) setCredentials(id, secret string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.id, i.secret = sha256.Sum256([]byte(id)), sha256.Sum256([]byte(secret))
	i.expiries, i.order = map[string]time.Time{}, nil
}

// revoke revokes all tokens.
func (i *issuer) revoke() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.expiries, i.order = map[string]time.Time{}, nil
}

// issue returns a new token and reports whether the credentials are valid.
func (i *issuer) issue(id, secret string) (token string, ok bool) {
	gotID, gotSecret := sha256.Sum256([]byte(id)), sha256.Sum256([]byte(secret))
	i.mu.Lock()
	defer i.mu.Unlock()
	if subtle.ConstantTimeCompare(gotID[:], i.id[:])&
		subtle.ConstantTimeCompare(gotSecret[:], i.secret[:]) != 1 {
		return "", false
	}
	now := i.now()
	i.evict(now)
	token = rand.Text()
	i.expiries[token] = now.Add(i.lifetime)
	i.order = append(i.order, token)
	i.first = cmp.Or(i.first, token)
	return token, true
}

// evict removes expired tokens, and the oldest token if there is no space for another.
func (i *issuer) evict(now time.Time) {
	for len(i.order) > 0 {
		oldest := i.order[0]
		expired := i.lifetime >= 0 && !now.Before(i.expiries[oldest])
		if !expired && len(i.order) < maxTokens {
			return
		}
		delete(i.expiries, oldest)
		i.order = i.order[1:]
	}
}

// accepts reports whether a request has a valid token.
func (i *issuer) accepts(r *http.Request) bool {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	i.mu.RLock()
	defer i.mu.RUnlock()
	expiry, ok := i.expiries[token]
	return ok && (i.lifetime < 0 || i.now().Before(expiry))
}

// isFirst reports whether a request has the first token of all.
func (i *issuer) isFirst(r *http.Request) bool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return r.Header.Get("Authorization") == "Bearer "+i.first
}

// serveToken answers POST /security/oauth/token.
func (s *Simulator) serveToken(w http.ResponseWriter, r *http.Request) {
	number, count := s.ledger.countToken(), s.ledger.countTokenStatus
	if script := s.tokenScript.Load(); script != nil && play(w, r, (*script)(number), count) {
		return
	}
	faults := s.faults.Load()
	named := faults.of(s.config.Now(), func(f namedFault) bool { return f.token })
	switch {
	case named.replaces():
		s.finish(w, r, faults.delay(named.answer), count)
	case faults.TokenStatus != 0:
		s.finish(w, r, faults.refusal(faults.TokenStatus), count)
	default:
		a := s.grant(w, r).withHeader("Cache-Control", "no-store")
		if a.Status == http.StatusOK && named.change != nil {
			named.change(&a)
		}
		s.finish(w, r, a, count)
	}
}

// grant returns the answer to a token call without a script or fault.
func (s *Simulator) grant(w http.ResponseWriter, r *http.Request) Answer {
	if r.Header.Get("Authorization") != "" {
		// auvious accepts credentials in the body only, not in HTTP Basic.
		return refusal(http.StatusUnauthorized, invalidClient).withHeader("WWW-Authenticate", `Basic realm="auvious"`)
	}
	if query := r.URL.Query(); query.Has("client_id") || query.Has("client_secret") {
		return refusal(http.StatusUnauthorized, invalidClient)
	}
	form, ok := readForm(w, r)
	if !ok || form.Get("grant_type") == "" {
		return refusal(http.StatusBadRequest, invalidRequest)
	}
	if form.Get("grant_type") != "client_credentials" {
		return refusal(http.StatusBadRequest, unsupportedGrantType)
	}
	if form.Get("client_id") == "" || form.Get("client_secret") == "" {
		return refusal(http.StatusUnauthorized, invalidClient)
	}
	token, ok := s.issuer.issue(form.Get("client_id"), form.Get("client_secret"))
	if !ok {
		return refusal(http.StatusUnauthorized, invalidClient)
	}
	return jsonAnswer(http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in,omitempty"`
	}{token, "Bearer", expiresIn(s.config.TokenLifetime)})
}

// expiresIn returns a lifetime in seconds, rounded up, or 0 for a token that never expires.
func expiresIn(lifetime time.Duration) int64 {
	if lifetime < 0 {
		return 0
	}
	return int64(math.Ceil(lifetime.Seconds()))
}

// readForm reads a form-encoded body. It reports whether the form is valid and contains each
// name at most once, as RFC 6749 requires.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, false
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, false
	}
	for _, values := range form {
		if len(values) > 1 {
			return nil, false
		}
	}
	return form, true
}
