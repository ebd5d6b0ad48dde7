// Package viewer shows the links of a conversation: as flat JSON for a canvas flow, as a link for the agent
// and a link for the customer, and as a card in the agent's canvas.
//
// Server-sent events update the pages. A page that cannot have a stream of its own polls. All words of the
// pages are in texts.go.
//
// # Guarantees
//
// The JSON needs credentials of the account. A page needs only its signed address, which opens this one page.
// There is no cookie, so requests need no check of the site that they come from. The pages of an account that
// is not configured do not exist. Pages load no script or style from other sites, are not cached and send no
// referrer. A page gives out a ticket only for a click, never for a GET: a robot that follows links cannot use
// it up.
package viewer

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/rs/zerolog"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/store"
	"roomlink/internal/web"
)

const (
	// readTimeout bounds a read of a state.
	readTimeout = 3 * time.Second
	// maxWait bounds ?wait=.
	maxWait = 20 * time.Second
	// refreshInterval is the interval between two reads of a state that waits. The feed reports links
	// and dead letters, but no events.
	refreshInterval = 2 * time.Second
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// Config configures a [Viewer].
type Config struct {
	Store         *store.Store
	Feed          *store.Feed
	Authenticator *access.Authenticator
	Pages         access.Pages
	// Accounts are the accounts whose pages exist.
	Accounts []accounts.Account
	// FrameAncestors are the sites that may show the card in a frame, in the form of a
	// Content-Security-Policy.
	FrameAncestors []string
	Logger         zerolog.Logger
	// Registerer registers the metrics; nil for none.
	Registerer prometheus.Registerer
}

// Viewer answers people and canvas flows.
type Viewer struct {
	config    Config
	accounts  atomic.Pointer[lifetimes]
	streams   streams
	templates *template.Template
	policy    string
	ancestors string
	log       zerolog.Logger

	// following and waits count the callers that follow a conversation at the moment: event
	// streams, and calls that wait.
	following, waits prometheus.Gauge
}

// New returns a viewer for the accounts of its configuration.
func New(config Config) *Viewer {
	v := &Viewer{
		config:    config,
		streams:   streams{counts: map[streamKey]int{}},
		templates: template.Must(template.ParseFS(pageFiles, "pages/*.html")),
		policy:    contentPolicy(config.Pages.BaseURL),
		ancestors: cmp.Or(strings.Join(config.FrameAncestors, " "), "'none'"),
		log:       config.Logger.With().Str("component", "viewer").Logger(),
	}
	followers := promauto.With(config.Registerer).NewGaugeVec(prometheus.GaugeOpts{
		Name: "roomlink_viewers",
		Help: "Callers that follow a conversation at the moment: open event streams of pages (event_stream), and calls of " +
			"/links that wait (wait). Sum over processes.",
	}, []string{"kind"})
	v.following, v.waits = followers.WithLabelValues("event_stream"), followers.WithLabelValues("wait")
	v.SetAccounts(config.Accounts)
	return v
}

// Routes adds the endpoints of the viewer to a router.
func (v *Viewer) Routes(router chi.Router) {
	router.Get("/links/{interactionId}", v.links)
	router.Post("/links/{interactionId}/renew", v.renewLinks)
	router.Route("/open", func(pages chi.Router) {
		pages.Use(v.secured(formsAnywhere, "'none'"))
		v.answerWrongAddresses(pages, router)
		getAndHead(pages, "/{token}", v.open)
		pages.Post("/{token}", v.join)
		v.addUpdates(pages, v.openView, openPurposes)
	})
	router.Route("/card", func(pages chi.Router) {
		pages.Use(v.secured(formsNowhere, v.ancestors))
		v.answerWrongAddresses(pages, router)
		getAndHead(pages, "/{token}", v.card)
		getAndHead(pages, "/{token}/qr.svg", v.cardQR)
		pages.With(readableAnywhere).Post("/{token}/renew", v.renewCard)
		v.addUpdates(pages, v.cardView, cardPurposes)
	})
	getAndHead(router.With(readableAnywhere), "/assets/{name}", asset)
}

// addUpdates adds the endpoints with which a page follows its conversation.
func (v *Viewer) addUpdates(pages chi.Router, view func(access.Claims) view, purposes []access.Purpose) {
	pages = pages.With(readableAnywhere)
	pages.Get("/{token}/events", v.stream(view, purposes))
	pages.Get("/{token}/state", v.poll(view, purposes))
}

// asset answers GET /assets/{name}. The browser revalidates an asset before each use, so a page never runs
// scripts of two versions.
func asset(w http.ResponseWriter, r *http.Request) {
	name := "assets/" + chi.URLParam(r, "name")
	content, err := assetFiles.ReadFile(name)
	if err != nil {
		web.Fail(w, web.NotFound("there is nothing at this address"))
		return
	}
	sum := sha256.Sum256(content)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:8])+`"`)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}

func getAndHead(router chi.Router, pattern string, handler http.HandlerFunc) {
	router.Get(pattern, handler)
	router.Head(pattern, handler)
}

// The targets of the forms of a page. Join redirects to the room, on any site.
const (
	formsNowhere  = "'none'"
	formsAnywhere = "'self' https: http:"
)

// contentPolicy returns the part of the Content-Security-Policy that all pages share. In a sandboxed frame the
// origin of a page is opaque, and 'self' need not match it, so the policy names the public origin too.
func contentPolicy(publicURL string) string {
	sources := "'self'"
	if base, err := web.ParseHTTPURL(publicURL); err == nil {
		sources += " " + base.Scheme + "://" + base.Host
	}
	return strings.ReplaceAll("default-src 'none'; style-src SOURCES; script-src SOURCES; img-src SOURCES; "+
		"connect-src SOURCES; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'; ",
		"SOURCES", sources)
}

// secured is a middleware that sets the security headers of pages: forms limits the targets of their forms,
// and ancestors the sites that may show them in a frame.
func (v *Viewer) secured(forms, ancestors string) func(http.Handler) http.Handler {
	policy := v.policy + "form-action " + forms + "; frame-ancestors " + ancestors
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			header := w.Header()
			header.Set("Content-Security-Policy", policy)
			header.Set("Referrer-Policy", "no-referrer")
			header.Set("X-Content-Type-Options", "nosniff")
			header.Set("X-Robots-Tag", "noindex, nofollow")
			header.Set("Cache-Control", "no-store")
			next.ServeHTTP(w, r)
		})
	}
}

// readableAnywhere is a middleware that lets pages of every origin read the answer. A page in a sandboxed
// frame has an opaque origin, so its own server is another site to it. The authority is the token, or the
// answer is public.
func readableAnywhere(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		next.ServeHTTP(w, r)
	})
}

// render answers with a page.
func (v *Viewer) render(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := v.templates.ExecuteTemplate(&page, name, data); err != nil {
		v.log.Error().Err(err).Str("page", name).Msg("page not rendered")
		web.Fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // the browser may have gone
}
