package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The defaults of [Config].
const (
	DefaultClientID      = "simulator"
	DefaultClientSecret  = "simulator-secret"
	DefaultTokenLifetime = time.Hour
	DefaultKeepRequests  = 10_000
)

// maxBody bounds the body of a request, in bytes.
const maxBody = 64 << 10

// Config configures a [Simulator]. The zero value is an auvious without delays or faults that
// accepts the default credentials.
type Config struct {
	// ClientID is the only client that gets tokens; DefaultClientID if empty.
	ClientID string

	// ClientSecret is the client's secret; DefaultClientSecret if empty.
	ClientSecret string

	// ApplicationID is the only applicationId that may make rooms. The simulator answers
	// 403 to others. If empty, every application may.
	ApplicationID string

	// TokenLifetime is how long a token is valid; DefaultTokenLifetime if 0. The answer's
	// expires_in is rounded up to a second. If negative, tokens never expire and the answer
	// has no expires_in.
	TokenLifetime time.Duration

	// Latency delays the answers to token and room calls, but not those of scripts.
	Latency Latency

	// Faults are the initial faults.
	Faults Faults

	// BaseURL is the prefix of a room's URLs, an absolute http or https URL. If empty, it is
	// the scheme and the Host of the room call.
	BaseURL string

	// KeepRequests is how many room requests are kept for [Simulator.Requests], counted
	// from the first; DefaultKeepRequests if 0, none if negative.
	KeepRequests int

	// Now is the clock for the expiry of tokens; time.Now if nil.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	c.ClientID = cmp.Or(c.ClientID, DefaultClientID)
	c.ClientSecret = cmp.Or(c.ClientSecret, DefaultClientSecret)
	c.TokenLifetime = cmp.Or(c.TokenLifetime, DefaultTokenLifetime)
	c.KeepRequests = cmp.Or(c.KeepRequests, DefaultKeepRequests)
	if c.Now == nil {
		c.Now = time.Now
	}
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	return c
}

// Simulator simulates auvious. Use [New] to make one.
type Simulator struct {
	config Config
	schema *jsonschema.Schema
	mux    *http.ServeMux
	issuer *issuer
	ledger *ledger

	faults      atomic.Pointer[Faults]
	latency     atomic.Pointer[Latency]
	script      atomic.Pointer[func(Call) *Answer]
	tokenScript atomic.Pointer[func(int) *Answer]
}

var _ http.Handler = (*Simulator)(nil)

// New returns a simulator. It returns an error that wraps [ErrFaults], or an error for a
// BaseURL that is not absolute.
func New(config Config) (*Simulator, error) {
	config = config.withDefaults()
	if config.BaseURL != "" {
		if err := checkAbsolute(config.BaseURL); err != nil {
			return nil, fmt.Errorf("base URL %q: %w", config.BaseURL, err)
		}
	}
	schema, err := compileSchema()
	if err != nil {
		return nil, err
	}
	s := &Simulator{
		config: config,
		schema: schema,
		issuer: newIssuer(config),
		ledger: newLedger(config.KeepRequests),
	}
	if err := s.SetFaults(config.Faults); err != nil {
		return nil, err
	}
	s.SetLatency(config.Latency)
	s.mux = s.routes()
	return s, nil
}

func (s *Simulator) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /security/oauth/token", s.serveToken)
	mux.HandleFunc("POST /security/facades/room", s.serveRoom)
	mux.HandleFunc("GET /agent/{room}", s.serveAgent)
	mux.HandleFunc("/t/{ticket...}", s.serveTicket)
	mux.HandleFunc("GET /simulator/stats", s.serveStats)
	mux.HandleFunc("GET /simulator/rooms/{interactionId}", s.serveRooms)
	mux.HandleFunc("GET /simulator/faults", s.serveFaults)
	mux.HandleFunc("PUT /simulator/faults", s.serveSetFaults)
	mux.HandleFunc("/", serveNotFound)
	return mux
}

// ServeHTTP implements [http.Handler]. To lose an answer it closes the connection. If it
// cannot (HTTP/2 or a recorder), it panics with [http.ErrAbortHandler], which makes the server
// abort the response.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mux.ServeHTTP(w, r)
}

// SetFaults replaces the faults. It returns an error that wraps [ErrFaults] and changes
// nothing if they are invalid.
func (s *Simulator) SetFaults(faults Faults) error {
	if err := faults.check(); err != nil {
		return err
	}
	named, err := parseAll(faults.Named)
	if err != nil {
		return err
	}
	faults.named = named
	s.faults.Store(&faults)
	return nil
}

// SetLatency replaces the latency.
func (s *Simulator) SetLatency(latency Latency) {
	s.latency.Store(&latency)
}

// SetCredentials replaces the client that gets tokens and revokes all tokens. With an empty
// string nobody gets a token.
func (s *Simulator) SetCredentials(id, secret string) {
	s.issuer.setCredentials(id, secret)
}

// RevokeTokens revokes all tokens.
func (s *Simulator) RevokeTokens() {
	s.issuer.revoke()
}

// checkAbsolute returns an error unless text is an http or https URL with a host.
func checkAbsolute(text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("must be an absolute http or https URL")
	}
	return nil
}
