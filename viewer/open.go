package viewer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"roomlink/internal/access"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

// page is the data of a page for people.
type page struct {
	// Name identifies the page.
	Name string
	// Status is the HTTP status; 0 for 200.
	Status int
	words
	// Waiting pages reload themselves if scripts are off.
	Waiting bool
	// Join shows the button that leads a customer to the room.
	Join bool
	// Token is the token in the page's address, for the script that follows the conversation; "" for a
	// page that follows nothing.
	Token string
	Root  root
	Texts texts
}

// pageRoom stands for the redirect of the agent to the room.
var pageRoom = page{Name: "room"}

// open answers GET /open/{token}: it redirects the agent to the room, and shows a button to a customer.
func (v *Viewer) open(w http.ResponseWriter, r *http.Request) {
	claims, state, err := v.lookUp(r, openPurposes)
	if err != nil {
		v.showError(w, r, err)
		return
	}
	shown := pageFor(claims, state)
	if shown.Name == pageRoom.Name {
		v.redirect(w, r, state.Links.Data.AgentURL, http.StatusFound)
		return
	}
	v.show(w, r, cmp.Or(shown.Status, http.StatusOK), shown.following(r))
}

// join answers POST /open/{token}, the click of a customer.
func (v *Viewer) join(w http.ResponseWriter, r *http.Request) {
	claims, state, err := v.lookUp(r, customerPurposes)
	if err != nil {
		v.showError(w, r, err)
		return
	}
	shown := pageFor(claims, state)
	if !shown.Join {
		v.show(w, r, cmp.Or(shown.Status, http.StatusOK), shown.following(r))
		return
	}
	v.auditTicket(r, caller{customerIdentity, "page"}, state.Links.Data)
	v.redirect(w, r, state.Links.Data.TicketURL.Reveal(), http.StatusSeeOther)
}

// customerIdentity is the identity of everybody who has the address of the customer's page.
var customerIdentity = access.Identity{Credential: "customer", Kind: access.KindSignedURL}

// pageEvent names the page to load. It tells nothing of the links.
type pageEvent struct {
	Version string `json:"version"`
}

// openView is what a page follows: the name of the page to show.
func (v *Viewer) openView(claims access.Claims) view {
	name := func(state store.State) string { return pageFor(claims, state).Name }
	return view{name, func(_ context.Context, state store.State) any { return pageEvent{name(state)} }}
}

// lookUp returns the claims of the token in an address, and the state of its conversation. Its errors are
// those of claims and state.
func (v *Viewer) lookUp(r *http.Request, purposes []access.Purpose) (access.Claims, store.State, error) {
	claims, err := v.claims(r, purposes)
	if err != nil {
		return claims, store.State{}, err
	}
	state, err := v.state(r.Context(), conversationOf(claims))
	return claims, state, err
}

// The purposes of the tokens below /open/ and /card/.
var (
	openPurposes     = []access.Purpose{access.PurposeAgent, access.PurposeCustomer}
	customerPurposes = []access.Purpose{access.PurposeCustomer}
	cardPurposes     = []access.Purpose{access.PurposeCard}
)

// claims verifies the token in an address for one of the purposes. Its errors are those of
// [access.Keys.Verify].
func (v *Viewer) claims(r *http.Request, purposes []access.Purpose) (access.Claims, error) {
	return v.verify(chi.URLParam(r, "token"), purposes)
}

// verify verifies a token for one of the purposes. The tokens of an account that is not configured are not
// valid. Its errors are those of [access.Keys.Verify].
func (v *Viewer) verify(token string, purposes []access.Purpose) (claims access.Claims, err error) {
	for _, purpose := range purposes {
		claims, err = v.config.Pages.Keys.Verify(token, purpose, time.Now())
		if !errors.Is(err, access.ErrToken) {
			break
		}
	}
	if _, ok := (*v.accounts.Load())[claims.Account]; !ok {
		return access.Claims{}, access.ErrToken
	}
	return claims, err
}

// state reads the state of a conversation. Its errors wrap [errState].
func (v *Viewer) state(ctx context.Context, conversation messages.Conversation) (store.State, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	state, err := v.config.Store.State(ctx, conversation, time.Now())
	if err != nil {
		return store.State{}, fmt.Errorf("%w: %w", errState, err)
	}
	return state, nil
}

func conversationOf(claims access.Claims) messages.Conversation {
	return messages.Conversation{Account: claims.Account, InteractionID: claims.Subject}
}

// pageFor returns the page that the holder of a token sees in a state.
func pageFor(claims access.Claims, state store.State) page {
	switch {
	case claims.Purpose == access.PurposeAgent && state.HasRoom() && state.Status != store.StatusPending:
		return pageRoom
	case claims.Purpose == access.PurposeAgent || !state.HasRoom():
		// An agent waits during a renewal: the customer will enter the new room.
		return pageOf(state.Status)
	case !state.Links.Data.Expired(time.Now()):
		return pageJoin
	case state.Status == store.StatusPending:
		return pageWaiting
	}
	return pageExpired
}

// pageOf returns the page of a conversation without a room.
func pageOf(status store.Status) page {
	switch status {
	case store.StatusFailed:
		return pageFailed
	case store.StatusRevoked:
		return pageRevoked
	case store.StatusUnknown:
		return pageUnknown
	}
	return pageWaiting
}

// following returns the page with the token of the request, so that its script follows the conversation.
func (p page) following(r *http.Request) page {
	p.Token = chi.URLParam(r, "token")
	return p
}

func (v *Viewer) show(w http.ResponseWriter, r *http.Request, status int, shown page) {
	shown.Texts, shown.Root = english, rootOf(r)
	v.render(w, status, "open.html", shown)
}

// redirect redirects to a URL of auvious.
func (v *Viewer) redirect(w http.ResponseWriter, r *http.Request, target string, status int) {
	if usable(target) == "" {
		v.show(w, r, http.StatusNotFound, pageUnusable)
		return
	}
	w.Header().Set("Location", target)
	w.WriteHeader(status)
}

// usable returns a URL of auvious if it is http or https, else "". The worker checked it too, but a browser
// would run the script in a javascript: URL.
func usable(target string) string {
	if _, err := web.ParseHTTPURL(target); err != nil {
		return ""
	}
	return target
}
