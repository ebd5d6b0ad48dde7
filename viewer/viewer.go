// Package viewer shows the links of a conversation: as flat JSON for a canvas flow, as a link for the agent
// and a link for the customer, and as a card in the agent's canvas.
//
// Server-sent events update the pages. All words of the pages are in texts.go.
//
// # Guarantees
//
// The JSON needs credentials of the account. A page needs only its signed address, which opens this one page.
// Pages load no script or style from other sites, set no cookie, are not cached and send no referrer to other
// sites. A page gives out a ticket only for a click, never for a GET: a robot that follows links cannot use it
// up.
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
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"

	"roomlink/internal/access"
	"roomlink/internal/store"
	"roomlink/internal/web"
)

const (
	// readTimeout bounds a read of a state.
	readTimeout = 3 * time.Second
	// maxWait bounds ?wait=.
	maxWait = 20 * time.Second
	// refreshInterval is the interval between two reads of a state that waits. The feed does not report an
	// event.
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
	// FrameAncestors are the sites that may show the card in a frame, in the form of a
	// Content-Security-Policy.
	FrameAncestors []string
	Logger         zerolog.Logger
}

// Viewer answers people and canvas flows.
type Viewer struct {
	config    Config
	templates *template.Template
	crossSite *http.CrossOriginProtection
	ancestors string
	log       zerolog.Logger
}

// New returns a viewer.
func New(config Config) *Viewer {
	return &Viewer{
		config:    config,
		templates: template.Must(template.ParseFS(pageFiles, "pages/*.html")),
		crossSite: http.NewCrossOriginProtection(),
		ancestors: cmp.Or(strings.Join(config.FrameAncestors, " "), "'none'"),
		log:       config.Logger.With().Str("component", "viewer").Logger(),
	}
}

// Routes adds the endpoints of the viewer to a router.
func (v *Viewer) Routes(router chi.Router) {
	router.Get("/links/{interactionId}", v.links)
	router.Post("/links/{interactionId}/renew", v.renewLinks)
	getAndHead(router, "/open/{token}", v.open)
	router.Post("/open/{token}", v.join)
	router.Get("/open/{token}/events", v.openEvents)
	getAndHead(router, "/card/{token}", v.card)
	router.Get("/card/{token}/events", v.cardEvents)
	router.Post("/card/{token}/renew", v.renewCard)
	getAndHead(router, "/card/{token}/qr.svg", v.cardQR)
	getAndHead(router, "/assets/{name}", asset)
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

// secure sets the security headers of a page: forms limits the targets of its forms, and ancestors the sites
// that may show it in a frame.
func secure(w http.ResponseWriter, forms, ancestors string) {
	header := w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; "+
		"img-src 'self'; connect-src 'self'; form-action "+forms+"; base-uri 'none'; "+
		"require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors "+ancestors)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Robots-Tag", "noindex, nofollow")
	header.Set("Cache-Control", "no-store")
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
