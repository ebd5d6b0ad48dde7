// Package viewer shows people the links of a conversation: as flat JSON for a
// canvas flow, as a context link for the agent and a link for the customer, and
// as a canvas card that follows what happens.
//
// The pages follow what happens by server-sent events, and their words stand in one
// place (texts.go).
//
// # Guarantees
//
// The JSON is given to an account's own credentials alone, and a page to whoever
// holds its signed address, which opens that one thing. Pages carry no script or
// style from elsewhere, set no cookie, are not cached and tell no referrer. A
// ticket is only ever given out as the answer to a click, never by a GET, so no
// robot that follows links can use it up.
package viewer

import (
	"bytes"
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
	// readWithin bounds a read of the state.
	readWithin = 3 * time.Second
	// maxWait is the longest ?wait= of the JSON.
	maxWait = 20 * time.Second
	// refresh is how often a waiting caller reads the state anew, to see an event
	// arrive.
	refresh = 2 * time.Second
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// Config makes a [Viewer].
type Config struct {
	Client        *store.Store
	Feed          *store.Feed
	Authenticator *access.Authenticator
	Pages         access.Pages
	// FrameAncestors are the sites that may show the card in a frame, as in a
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
	ancestors := "'none'"
	if len(config.FrameAncestors) > 0 {
		ancestors = strings.Join(config.FrameAncestors, " ")
	}
	return &Viewer{
		config:    config,
		templates: template.Must(template.ParseFS(pageFiles, "pages/*.html")),
		crossSite: http.NewCrossOriginProtection(),
		ancestors: ancestors,
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

// asset answers GET /assets/{name}. A browser asks each time whether it has the
// right one, so that the scripts of two versions never meet.
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

// Where the forms of a page may lead: Join leads to the room, wherever it is.
const (
	formsNowhere  = "'none'"
	formsAnywhere = "'self' https: http:"
)

// secure sets the headers of every page. forms is where its forms may lead, and
// ancestors are the sites that may show it in a frame.
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
	var page strings.Builder
	if err := v.templates.ExecuteTemplate(&page, name, data); err != nil {
		v.log.Error().Err(err).Str("page", name).Msg("page not rendered")
		web.Fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(page.String())) // a browser that is gone hears nothing
}
