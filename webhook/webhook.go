// Package webhook takes what Talkdesk calls and stores it: conversation events
// become messages in the queue, and the token endpoint gives out the access
// tokens that Talkdesk's Connections ask for before they call.
//
// # Guarantees
//
// It answers 2xx only after the broker has acknowledged that the event is stored,
// or that one of the same conversation is. What cannot be stored is answered 503
// with Retry-After. The account is that of the caller's credentials, never
// something that the caller says. What cannot be read gets an error that names
// the fault.
package webhook

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

const (
	// storeWithin bounds the wait for the broker. Talkdesk's own time-out begins at
	// 5 s (Talkdesk, Connections).
	storeWithin = 3 * time.Second

	retryFull        = 10 * time.Second
	retryUnavailable = 2 * time.Second
)

// Config makes a [Webhook].
type Config struct {
	Client *store.Store
	// Feed tells an action of its links.
	Feed          *store.Feed
	Authenticator *access.Authenticator
	Pages         access.Pages
	Accounts      []accounts.Account
	// ActionTimeout bounds the wait of an action for its links.
	ActionTimeout time.Duration
	Logger        zerolog.Logger
	// Registerer takes the metrics.
	Registerer prometheus.Registerer
}

// Webhook answers Talkdesk.
type Webhook struct {
	config   Config
	accounts atomic.Pointer[map[string]*caller]
	metrics  *metrics
	log      zerolog.Logger
}

// caller is an account with what it may still ask for.
type caller struct {
	accounts.Account
	limiter *rate.Limiter
}

// New returns a webhook for its accounts.
func New(config Config) *Webhook {
	h := &Webhook{
		config:  config,
		metrics: newMetrics(config.Registerer),
		log:     config.Logger.With().Str("component", "webhook").Logger(),
	}
	h.SetAccounts(config.Accounts)
	return h
}

// SetAccounts replaces the accounts for the requests that come from now on. An
// account whose rate is the same goes on counting.
func (h *Webhook) SetAccounts(all []accounts.Account) {
	before := h.accounts.Load()
	callers := make(map[string]*caller, len(all))
	for _, account := range all {
		limit := rate.Inf
		if account.Talkdesk.Rate > 0 {
			limit = rate.Limit(account.Talkdesk.Rate)
		}
		callers[account.Name] = &caller{account, rate.NewLimiter(limit, max(1, int(account.Talkdesk.Rate)))}
		if before == nil {
			continue
		}
		if old, ok := (*before)[account.Name]; ok && old.Talkdesk.Rate == account.Talkdesk.Rate {
			callers[account.Name].limiter = old.limiter
		}
	}
	h.accounts.Store(&callers)
}

// Routes adds the endpoints of the webhook to a router.
func (h *Webhook) Routes(router chi.Router) {
	router.Post("/talkdesk/events", h.events)
	router.Post("/security/oauth/token", h.token)
	router.Post("/security/facades/room", h.facade)
}

// answer is what an event is answered with, a flat object of strings.
type answer struct {
	Status        string `json:"status"`
	InteractionID string `json:"interactionId"`
	access.Addresses
}

// events answers POST /talkdesk/events.
func (h *Webhook) events(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	line := audit{remote: r.RemoteAddr}
	status, reply, err := h.take(w, r, &line)
	line.took = time.Since(began)
	h.audit(line, err)
	if err != nil {
		web.Fail(w, err)
		return
	}
	web.JSON(w, status, &reply)
}

// take stores the event of a request. Its errors are [*web.Error]s.
func (h *Webhook) take(w http.ResponseWriter, r *http.Request, line *audit) (int, answer, error) {
	now := time.Now()
	account, err := h.admit(r, line, now)
	if err != nil {
		return 0, answer{}, err
	}
	n, err := h.read(w, r, account)
	if err != nil {
		line.outcome = "refused"
		return 0, answer{}, err
	}
	line.shape, line.interactionID = n.source, n.interactionID
	if !n.start {
		line.outcome = "ignored"
		return http.StatusOK, answer{Status: "ignored", InteractionID: n.interactionID}, nil
	}
	event := messages.NewEvent(messages.At(now), n.started(account.Name, now))
	outcome, err := h.store(r.Context(), event)
	if err != nil {
		line.outcome, line.cause = "unavailable", err
		return 0, answer{}, storeError(err)
	}
	line.outcome = outcome.String()
	status := http.StatusAccepted
	if outcome == store.Duplicate {
		status = http.StatusOK
	}
	return status, answer{
		Status:        outcome.String(),
		InteractionID: n.interactionID,
		Addresses:     h.config.Pages.For(event.Data.Conversation, now),
	}, nil
}

// admit finds whose call it is and whether it may be made. Its errors are
// [*web.Error]s.
func (h *Webhook) admit(r *http.Request, line *audit, now time.Time) (accounts.Account, error) {
	identity, err := h.config.Authenticator.Authenticate(r, now)
	line.identity = identity
	if err != nil {
		line.outcome = "unauthorized"
		return accounts.Account{}, web.AccessError(err)
	}
	caller, ok := (*h.accounts.Load())[identity.Account]
	if !ok { // removed in this moment
		line.outcome = "unauthorized"
		return accounts.Account{}, web.AccessError(access.ErrBadCredentials)
	}
	if reservation := caller.limiter.ReserveN(now, 1); reservation.DelayFrom(now) > 0 {
		wait := reservation.DelayFrom(now)
		reservation.CancelAt(now)
		line.outcome = "throttled"
		return accounts.Account{}, web.TooMany("the account posts more events than it may", wait)
	}
	return caller.Account, nil
}

// read reads the event of a request. Its errors are [*web.Error]s.
func (h *Webhook) read(w http.ResponseWriter, r *http.Request, account accounts.Account) (notice, error) {
	return readJSON(w, r, func(body []byte) (notice, error) { return decode(body, account) })
}

// readAction reads the request of an action. Its errors are [*web.Error]s.
func (h *Webhook) readAction(w http.ResponseWriter, r *http.Request, account accounts.Account) (notice, error) {
	return readJSON(w, r, func(body []byte) (notice, error) {
		return readFields(body, func(fields fields) (notice, error) {
			n, err := decodeAction(body, fields, account)
			if err != nil {
				return notice{}, err
			}
			return n, checkInteraction(n)
		})
	})
}

// bodies are buffers for the bodies of requests.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// readJSON has the body of a request decoded, which is lost after that. Its errors
// are [*web.Error]s.
func readJSON(
	w http.ResponseWriter, r *http.Request, decode func(body []byte) (notice, error),
) (notice, error) {
	if err := wantJSON(r); err != nil {
		return notice{}, err
	}
	buffer, _ := bodies.Get().(*bytes.Buffer)
	defer bodies.Put(buffer)
	body, err := web.ReadBody(w, r, buffer)
	if err != nil {
		return notice{}, err
	}
	return decode(body)
}

func wantJSON(r *http.Request) error {
	contentType := r.Header.Get("Content-Type")
	if contentType == "application/json" {
		return nil // as nearly always, and parsing it costs a map
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err == nil && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")) {
		return nil
	}
	return &web.Error{
		Status: http.StatusUnsupportedMediaType, Code: "not_json",
		Description: "send the body with Content-Type: application/json",
	}
}

// store stores an event that was read whole, though its caller may have hung up
// by now: nobody knows that Talkdesk would send it again.
func (h *Webhook) store(ctx context.Context, event messages.Event[messages.Started]) (store.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	return h.config.Client.Publish(ctx, event)
}

// storeError says how an event is answered that was not stored for sure.
func storeError(err error) error {
	switch {
	case errors.Is(err, store.ErrQueueFull):
		return web.Unavailable("queue_full", "the queue is full: send the event again later", retryFull)
	case errors.Is(err, messages.ErrInvalid):
		return web.BadRequest("bad_event", "%v", err)
	}
	return web.Unavailable("queue_unavailable", "the event could not be stored: send it again", retryUnavailable)
}

// audit is what is written down of a call.
type audit struct {
	identity      access.Identity
	remote        string
	shape         string
	interactionID string
	outcome       string
	cause         error
	took          time.Duration
}

// audit writes a line for each call: who asked for what, and what came of it. It
// names credentials and never quotes them.
func (h *Webhook) audit(line audit, err error) {
	h.metrics.events.WithLabelValues(line.identity.Account, line.outcome).Inc()
	h.metrics.duration.Observe(line.took.Seconds())
	entry := h.log.Info()
	if err != nil {
		entry = h.log.Warn().AnErr("error", err)
	}
	if line.cause != nil {
		entry = entry.AnErr("cause", line.cause)
	}
	entry.Str("kind", "audit").Str("account", line.identity.Account).
		Str("credential", line.identity.Credential).Str("credential_kind", line.identity.Kind).
		Str("remote", line.remote).Str("shape", line.shape).Str("interaction_id", line.interactionID).
		Str("outcome", line.outcome).Int64("took_ms", line.took.Milliseconds()).Msg("event received")
}
