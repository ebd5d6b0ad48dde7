package viewer

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"

	"roomlink/internal/access"
	"roomlink/internal/web"
	"roomlink/messages"
)

// page is what the pages for people show.
type page struct {
	// Title and Text say where the conversation is.
	Title, Text string
	// Waiting pages look again by themselves.
	Waiting bool
	// Join shows the button that leads a customer to the room.
	Join bool
}

// The texts of the pages, in one place.
var (
	pageWaiting = page{
		Title: "Your video room is on its way", Waiting: true,
		Text: "This page goes on by itself as soon as the room is there.",
	}
	pageUnknown = page{
		Title: "There is no video room yet", Waiting: true,
		Text: "Nothing is known of this conversation so far. This page goes on by itself as soon as there is a room.",
	}
	pageFailed  = page{Title: "There is no video room", Text: "The room could not be made. Please tell whoever gave you this link."}
	pageExpired = page{Title: "This link has ended", Text: "Please ask for a new one."}
	pageInvalid = page{Title: "This link does not work", Text: "It is incomplete, or it was made for something else."}
	pageOutage  = page{
		Title: "One moment, please", Waiting: true,
		Text: "The room cannot be looked up right now. This page tries again by itself.",
	}
	pageJoin = page{Title: "Your video room is ready", Text: "Your camera and microphone stay off until you allow them.", Join: true}
)

// open answers GET /open/{token}: the agent goes to the room at once, a customer
// by a click.
func (v *Viewer) open(w http.ResponseWriter, r *http.Request) {
	secure(w, "'none'")
	token := chi.URLParam(r, "token")
	if claims, err := v.config.Pages.Keys.Verify(token, access.PurposeAgent, time.Now()); !errors.Is(err, access.ErrToken) {
		v.openAgent(w, r, claims, err)
		return
	}
	claims, err := v.config.Pages.Keys.Verify(token, access.PurposeCustomer, time.Now())
	if err != nil {
		v.show(w, tokenStatus(err), tokenPage(err))
		return
	}
	// With no-referrer the button's POST would come from nowhere, and a browser
	// that does not say which site it comes from could not be told from another's.
	w.Header().Set("Referrer-Policy", "same-origin")
	status, shown, _ := v.customerPage(r, claims)
	v.show(w, status, shown)
}

func (v *Viewer) openAgent(w http.ResponseWriter, r *http.Request, claims access.Claims, err error) {
	if err != nil {
		v.show(w, tokenStatus(err), tokenPage(err))
		return
	}
	state, err := v.state(r, claims)
	if err != nil {
		v.show(w, http.StatusServiceUnavailable, pageOutage)
		return
	}
	if state.Links == nil || state.Status == messages.StatusPending {
		// Pending with links is a renewal: the customer will be in the new room.
		v.show(w, http.StatusOK, pageOf(state.Status))
		return
	}
	redirect(w, state.Links.Data.AgentURL, http.StatusFound)
}

// join answers POST /open/{token}: the customer's click.
func (v *Viewer) join(w http.ResponseWriter, r *http.Request) {
	secure(w, "'none'")
	if err := v.crossSite.Check(r); err != nil {
		web.Fail(w, &web.Error{Status: http.StatusForbidden, Code: "cross_site", Description: "join from our own page"})
		return
	}
	claims, err := v.config.Pages.Keys.Verify(chi.URLParam(r, "token"), access.PurposeCustomer, time.Now())
	if err != nil {
		v.show(w, tokenStatus(err), tokenPage(err))
		return
	}
	status, shown, links := v.customerPage(r, claims)
	if links == nil {
		v.show(w, status, shown)
		return
	}
	redirect(w, links.TicketURL.Reveal(), http.StatusSeeOther)
}

// customerPage says what a customer sees. The links are nil unless they can be
// joined.
func (v *Viewer) customerPage(r *http.Request, claims access.Claims) (int, page, *messages.Links) {
	state, err := v.state(r, claims)
	switch {
	case err != nil:
		return http.StatusServiceUnavailable, pageOutage, nil
	case state.Links == nil:
		return http.StatusOK, pageOf(state.Status), nil
	case state.Links.Data.Expired(time.Now()) && state.Status == messages.StatusPending:
		return http.StatusOK, pageWaiting, nil
	case state.Links.Data.Expired(time.Now()):
		return http.StatusOK, pageExpired, nil
	}
	return http.StatusOK, pageJoin, &state.Links.Data
}

func (v *Viewer) state(r *http.Request, claims access.Claims) (messages.State, error) {
	ctx, cancel := context.WithTimeout(r.Context(), readWithin)
	defer cancel()
	conversation := messages.Conversation{Account: claims.Account, InteractionID: claims.Subject}
	return v.config.Client.State(ctx, conversation, time.Now())
}

// pageOf is the page of a conversation without links.
func pageOf(status messages.Status) page {
	switch status {
	case messages.StatusFailed:
		return pageFailed
	case messages.StatusUnknown:
		return pageUnknown
	}
	return pageWaiting
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

func (v *Viewer) show(w http.ResponseWriter, status int, shown page) {
	v.render(w, status, "open.html", shown)
}

// redirect leads to a URL that auvious gave and the worker has checked. What is
// neither http nor https leads nowhere all the same: a browser would run it.
func redirect(w http.ResponseWriter, target string, status int) {
	parsed, err := url.Parse(target)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		web.Fail(w, web.NotFound("the room's address is not usable"))
		return
	}
	w.Header().Set("Location", target)
	w.WriteHeader(status)
}
