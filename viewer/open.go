package viewer

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"

	"roomlink/internal/access"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

// page is what the pages for people show. Its words are among the [texts].
type page struct {
	// Name tells it from the others, for whoever waits for another one.
	Name string
	words
	// Waiting pages look again by themselves.
	Waiting bool
	// Join shows the button that leads a customer to the room.
	Join bool
	// Events is where the page hears that there is another one to show; empty
	// where there never will be.
	Events string
	Texts  texts
}

// pageRoom stands for the agent's redirect to the room.
var pageRoom = page{Name: "room"}

// open answers GET /open/{token}: the agent goes to the room at once, a customer
// by a click.
func (v *Viewer) open(w http.ResponseWriter, r *http.Request) {
	secure(w, formsAnywhere, "'none'")
	claims, err := v.openClaims(r)
	if err != nil {
		v.show(w, tokenStatus(err), tokenPage(err))
		return
	}
	if claims.Purpose == access.PurposeCustomer {
		allowPost(w)
	}
	state, err := v.state(r, claims)
	if err != nil {
		v.show(w, http.StatusServiceUnavailable, pageOutage.following(r))
		return
	}
	shown := pageFor(claims, state)
	if shown.Name == pageRoom.Name {
		redirect(w, state.Links.Data.AgentURL, http.StatusFound)
		return
	}
	v.show(w, http.StatusOK, shown.following(r))
}

// allowPost has the button's POST say where it comes from. With no-referrer it
// would come from nowhere, and a browser that does not say which site it comes
// from could not be told from another's.
func allowPost(w http.ResponseWriter) { w.Header().Set("Referrer-Policy", "same-origin") }

// join answers POST /open/{token}: the customer's click.
func (v *Viewer) join(w http.ResponseWriter, r *http.Request) {
	secure(w, formsAnywhere, "'none'")
	if err := v.crossSite.Check(r); err != nil {
		web.Fail(w, &web.Error{Status: http.StatusForbidden, Code: "cross_site", Description: "join from our own page"})
		return
	}
	claims, err := v.config.Pages.Keys.Verify(chi.URLParam(r, "token"), access.PurposeCustomer, time.Now())
	if err != nil {
		v.show(w, tokenStatus(err), tokenPage(err))
		return
	}
	state, err := v.state(r, claims)
	if err != nil {
		v.show(w, http.StatusServiceUnavailable, pageOutage.following(r))
		return
	}
	shown := pageFor(claims, state)
	if !shown.Join {
		v.show(w, http.StatusOK, shown.following(r))
		return
	}
	redirect(w, state.Links.Data.TicketURL.Reveal(), http.StatusSeeOther)
}

// openEvents answers GET /open/{token}/events: the name of the page to show,
// whenever it is another one.
func (v *Viewer) openEvents(w http.ResponseWriter, r *http.Request) {
	claims, err := v.openClaims(r)
	if err != nil {
		web.Fail(w, tokenError(err))
		return
	}
	v.stream(w, r, claims, view{
		version: func(state store.State) string { return pageFor(claims, state).Name },
		data: func(_ context.Context, state store.State) any {
			return pageState{Version: pageFor(claims, state).Name}
		},
	})
}

// pageState is what a page hears: no more than that there is another one to get.
type pageState struct {
	Version string `json:"version"`
}

// openClaims are those of the agent's or the customer's token in an address. Its
// errors are those of [access.Keys.Verify].
func (v *Viewer) openClaims(r *http.Request) (access.Claims, error) {
	token, now := chi.URLParam(r, "token"), time.Now()
	claims, err := v.config.Pages.Keys.Verify(token, access.PurposeAgent, now)
	if errors.Is(err, access.ErrToken) {
		return v.config.Pages.Keys.Verify(token, access.PurposeCustomer, now)
	}
	return claims, err
}

// pageFor is the page that a state shows to the holder of a token.
func pageFor(claims access.Claims, state store.State) page {
	switch {
	case claims.Purpose == access.PurposeAgent && state.Links != nil && state.Status != store.StatusPending:
		return pageRoom
	case claims.Purpose == access.PurposeAgent || state.Links == nil:
		// For the agent, pending with links is a renewal: the customer will be in
		// the new room.
		return pageOf(state.Status)
	case !state.Links.Data.Expired(time.Now()):
		return pageJoin
	case state.Status == store.StatusPending:
		return pageWaiting
	}
	return pageExpired
}

func (v *Viewer) state(r *http.Request, claims access.Claims) (store.State, error) {
	ctx, cancel := context.WithTimeout(r.Context(), readWithin)
	defer cancel()
	return v.config.Client.State(ctx, conversationOf(claims), time.Now())
}

func conversationOf(claims access.Claims) messages.Conversation {
	return messages.Conversation{Account: claims.Account, InteractionID: claims.Subject}
}

// pageOf is the page of a conversation without links.
func pageOf(status store.Status) page {
	switch status {
	case store.StatusFailed:
		return pageFailed
	case store.StatusUnknown:
		return pageUnknown
	}
	return pageWaiting
}

// following is a page that hears when there is another one to show.
func (p page) following(r *http.Request) page {
	p.Events = chi.URLParam(r, "token") + "/events"
	return p
}

func tokenPage(err error) page {
	if errors.Is(err, access.ErrTokenExpired) {
		return pageExpired
	}
	return pageInvalid
}

func tokenStatus(err error) int {
	if errors.Is(err, access.ErrTokenExpired) {
		return http.StatusGone
	}
	return http.StatusNotFound
}

// tokenError answers a program for a token that does not open what it asks for.
func tokenError(err error) error {
	return &web.Error{Status: tokenStatus(err), Code: "bad_token", Description: err.Error()}
}

func (v *Viewer) show(w http.ResponseWriter, status int, shown page) {
	shown.Texts = english
	v.render(w, status, "open.html", shown)
}

// redirect leads to a URL that auvious gave and the worker has checked.
func redirect(w http.ResponseWriter, target string, status int) {
	if usable(target) == "" {
		web.Fail(w, web.NotFound("the room's address is not usable"))
		return
	}
	w.Header().Set("Location", target)
	w.WriteHeader(status)
}

// usable is a URL that auvious gave, or nothing: what is neither http nor https
// leads nowhere though the worker has checked it, since a browser would run it.
func usable(target string) string {
	parsed, err := url.Parse(target)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return ""
	}
	return target
}
