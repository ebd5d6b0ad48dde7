// Package webhook receives the calls from Talkdesk. It stores the starts of conversations,
// carries out auvious' action, and issues the access tokens that Talkdesk's Connections
// ask for.
//
// # Guarantees
//
// A start is answered with 2xx only if the broker has acknowledged its event, or an event
// of the same conversation is stored already. An event that cannot be stored is answered
// with 503 and Retry-After. The caller's credentials alone decide the account. An error
// names what is wrong with a request.
package webhook

import (
	"context"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/store"
	"roomlink/internal/telemetry"
	"roomlink/internal/tracing"
	"roomlink/internal/web"
	"roomlink/messages"
)

// storeTimeout bounds the wait for the broker. Talkdesk waits for at least 5 s
// (Talkdesk, Connections).
const storeTimeout = 3 * time.Second

// Config configures a [Webhook].
type Config struct {
	Store *store.Store
	// Feed reports the links that an action waits for.
	Feed          *store.Feed
	Authenticator *access.Authenticator
	Pages         access.Pages
	Accounts      []accounts.Account
	// ActionTimeout bounds the wait of an action for its links.
	ActionTimeout time.Duration
	// AnyApplication lets an action name any application of auvious.
	AnyApplication bool
	Logger         zerolog.Logger
	// Registerer registers the metrics.
	Registerer prometheus.Registerer
	// Labels are the labels of the accounts in the metrics; nil for their names.
	Labels *telemetry.AccountLabels
}

// Webhook answers the calls from Talkdesk.
type Webhook struct {
	config   Config
	accounts atomic.Pointer[map[string]*limitedAccount]
	metrics  *metrics
	log      zerolog.Logger
}

// limitedAccount is an account with its rate limit.
type limitedAccount struct {
	accounts.Account
	limiter *rate.Limiter
}

// New returns a webhook for the accounts of its configuration.
func New(config Config) *Webhook {
	h := &Webhook{
		config:  config,
		metrics: newMetrics(config.Registerer, config.Labels),
		log:     config.Logger.With().Str("component", "webhook").Logger(),
	}
	h.metrics.add("")
	h.SetAccounts(config.Accounts)
	return h
}

// SetAccounts replaces the accounts for later requests. An account with an unchanged rate
// keeps its limiter.
func (h *Webhook) SetAccounts(all []accounts.Account) {
	before := h.accounts.Load()
	limited := make(map[string]*limitedAccount, len(all))
	for _, account := range all {
		if h.config.AnyApplication {
			account.Auvious.ApplicationID = ""
		}
		limit := rate.Inf
		if account.Talkdesk.Rate > 0 {
			limit = rate.Limit(account.Talkdesk.Rate)
		}
		h.metrics.add(account.Name)
		limited[account.Name] = &limitedAccount{account, rate.NewLimiter(limit, max(1, int(account.Talkdesk.Rate)))}
		if before == nil {
			continue
		}
		if old, ok := (*before)[account.Name]; ok && old.Talkdesk.Rate == account.Talkdesk.Rate {
			limited[account.Name].limiter = old.limiter
		}
	}
	h.accounts.Store(&limited)
}

// Routes adds the endpoints of the webhook to a router.
func (h *Webhook) Routes(router chi.Router) {
	router.Post("/talkdesk/events", h.audited(h.receive))
	router.Post("/security/oauth/token", h.audited(h.issue))
	router.Post("/security/facades/room", h.audited(h.execute))
}

// receive answers POST /talkdesk/events: it stores the start of a conversation.
func (h *Webhook) receive(w http.ResponseWriter, r *http.Request, record *auditRecord) (int, any, error) {
	account, event, err := h.accept(w, r, record, decodeEvent)
	if err != nil {
		return 0, nil, err
	}
	if !event.start {
		record.outcome = outcomeIgnored
		return http.StatusOK, &web.EventAnswer{Status: "ignored", InteractionID: event.interactionID}, nil
	}
	started := event.started(account.Name, record.began)
	outcome, err := h.publish(r.Context(), started)
	if err != nil {
		record.outcome = outcomeUnavailable
		return 0, nil, err
	}
	record.outcome = outcome.String()
	status := http.StatusAccepted
	if outcome == store.Duplicate {
		status = http.StatusOK
	}
	return status, &web.EventAnswer{
		Status:        outcome.String(),
		InteractionID: event.interactionID,
		Addresses:     h.config.Pages.For(started.Data.Conversation, record.began),
	}, nil
}

// accept authenticates a request and decodes its body.
func (h *Webhook) accept(
	w http.ResponseWriter, r *http.Request, record *auditRecord,
	decode func(body []byte, account accounts.Account) (talkdeskEvent, error),
) (accounts.Account, talkdeskEvent, error) {
	account, err := h.admit(r, record)
	if err != nil {
		return accounts.Account{}, talkdeskEvent{}, err
	}
	body, err := readJSON(w, r)
	if err != nil {
		return accounts.Account{}, talkdeskEvent{}, err
	}
	event, err := decode(body, account)
	if err == nil {
		record.shape, record.interactionID = event.source, event.interactionID
	}
	return account, event, err
}

// admit authenticates a request and applies the rate limit of its account. Its errors are
// those of [access.Authenticator.Authenticate], and a [*web.Error] for too many requests.
func (h *Webhook) admit(r *http.Request, record *auditRecord) (accounts.Account, error) {
	identity, err := h.config.Authenticator.Authenticate(r, record.began)
	record.identity = identity
	account, ok := (*h.accounts.Load())[identity.Account]
	if err == nil && !ok { // the account was removed just now
		err = access.ErrBadCredentials
	}
	if err != nil {
		record.outcome = "unauthorized"
		return accounts.Account{}, err
	}
	reservation := account.limiter.ReserveN(record.began, 1)
	if wait := reservation.DelayFrom(record.began); wait > 0 {
		reservation.CancelAt(record.began)
		record.outcome = "throttled"
		return accounts.Account{}, web.TooMany("the account makes more calls than it may", wait)
	}
	return account.Account, nil
}

// readJSON reads a body of JSON. Its errors are [*web.Error]s.
func readJSON(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if !hasType(r, isJSON) {
		return nil, &web.Error{
			Status: http.StatusUnsupportedMediaType, Code: "not_json",
			Description: "send the body with Content-Type: application/json",
		}
	}
	return web.ReadBody(w, r)
}

// isJSON reports whether a media type is JSON (WHATWG MIME Sniffing, section 4.6).
func isJSON(mediaType string) bool {
	return mediaType == "application/json" || mediaType == "text/json" || strings.HasSuffix(mediaType, "+json")
}

// hasType reports whether the Content-Type of a request is */* or a type that fits. If a proxy
// joined several types with commas, each must fit.
func hasType(r *http.Request, fits func(mediaType string) bool) bool {
	unfit := func(contentType string) bool {
		mediaType, _, err := mime.ParseMediaType(contentType)
		return err != nil || mediaType != "*/*" && !fits(mediaType)
	}
	all := r.Header.Get("Content-Type")
	return !unfit(all) || !slices.ContainsFunc(strings.Split(all, ","), unfit)
}

// publish stores an event even if the caller hung up: Talkdesk may never send it again.
func (h *Webhook) publish(ctx context.Context, event messages.Event[messages.Started]) (store.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	publishing, span := tracing.Start(ctx, "publish event", trace.SpanKindProducer)
	outcome, err := h.config.Store.Publish(publishing, event)
	tracing.End(span, err)
	return outcome, err
}
