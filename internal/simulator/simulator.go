package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// What a zero [Config] stands for.
const (
	DefaultClientID      = "simulator"
	DefaultClientSecret  = "simulator-secret"
	DefaultTokenLifetime = time.Hour
	DefaultKeepRequests  = 10_000
)

// maxBody is the most that is read of a request's body.
const maxBody = 64 << 10

// Config says how a [Simulator] behaves. The zero value is a fast and faultless
// auvious with the default credentials.
type Config struct {
	// ClientID is the one client that gets tokens. Empty: DefaultClientID.
	ClientID string

	// ClientSecret is that client's secret. Empty: DefaultClientSecret.
	ClientSecret string

	// ApplicationID is the one applicationId that may make rooms; another is
	// answered 403. Empty (the default): every application may.
	ApplicationID string

	// TokenLifetime is how long a token is good for; the answer's expires_in is
	// this, rounded up to a second. Negative: for ever, and the answer has no
	// expires_in. Zero: DefaultTokenLifetime.
	TokenLifetime time.Duration

	// Latency is how long token and room calls take. Zero (the default): no
	// longer than they need. Scripted answers take no latency.
	Latency Latency

	// Faults are what goes wrong from the start. Zero (the default): nothing.
	Faults Faults

	// BaseURL is what the URLs of a room begin with, an absolute http or https
	// URL. Empty (the default): the scheme and the Host of the room call.
	BaseURL string

	// KeepRequests is how many room requests are kept for [Simulator.Requests],
	// the first ones. Negative: none. Zero: DefaultKeepRequests.
	KeepRequests int

	// Now is the clock by which tokens expire. Nil (the default): time.Now.
	Now func() time.Time
}

// withDefaults returns the configuration with its zero values filled in.
func (c Config) withDefaults() Config {
	if c.ClientID == "" {
		c.ClientID = DefaultClientID
	}
	if c.ClientSecret == "" {
		c.ClientSecret = DefaultClientSecret
	}
	if c.TokenLifetime == 0 {
		c.TokenLifetime = DefaultTokenLifetime
	}
	if c.KeepRequests == 0 {
		c.KeepRequests = DefaultKeepRequests
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	return c
}

// Simulator is a simulated auvious. Make one with [New].
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

// New returns a simulator that is ready to serve. An error is the
// configuration's fault: a BaseURL that is not absolute, or [ErrFaults].
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

// routes returns the simulator's whole surface.
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

// ServeHTTP answers one request. To lose an answer it closes the connection;
// where that cannot be done (HTTP/2, or a recorder) it panics with
// [http.ErrAbortHandler], which a server understands.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mux.ServeHTTP(w, r)
}

// SetFaults replaces what goes wrong from now on. It returns [ErrFaults],
// wrapped, and changes nothing, if the faults contradict themselves.
func (s *Simulator) SetFaults(faults Faults) error {
	if err := faults.check(); err != nil {
		return err
	}
	s.faults.Store(&faults)
	return nil
}

// SetLatency replaces how long calls take from now on.
func (s *Simulator) SetLatency(latency Latency) {
	s.latency.Store(&latency)
}

// SetCredentials replaces the one client that gets tokens, and revokes every
// token issued before. Empty strings are taken as they are: nobody gets one.
func (s *Simulator) SetCredentials(id, secret string) {
	s.issuer.setCredentials(id, secret)
}

// RevokeTokens makes every token issued so far invalid.
func (s *Simulator) RevokeTokens() {
	s.issuer.revoke()
}

// checkAbsolute returns an error unless text is an http or https URL with a host.
func checkAbsolute(text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("wants an absolute http or https URL")
	}
	return nil
}
