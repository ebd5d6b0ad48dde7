package viewer

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"roomlink/internal/access"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

// cardState is what the card shows: flat, and without the ticket, which the
// customer's own page leads to.
type cardState struct {
	Status string `json:"status"`
	// Heading and Text say in words how far the conversation has come.
	Heading      string `json:"heading"`
	Text         string `json:"text"`
	AgentURL     string `json:"agentUrl"`
	RecordingURL string `json:"recordingUrl"`
	CustomerURL  string `json:"customerUrl"`
	ExpiresAt    string `json:"expiresAt"`
	// Since is when the event was stored that is waited for.
	Since  string `json:"since"`
	Reason string `json:"reason"`
	// Generation is that of the links; empty without links, which nothing can renew.
	Generation string `json:"generation"`
	// Now is the server's clock, as that of a browser may be wrong.
	Now string `json:"now"`
	// Version changes whenever there is something new to show.
	Version string `json:"version"`
}

// Live reports whether the customer's link lets the customer in.
func (s cardState) Live() bool {
	return s.Status == string(store.StatusReady) || s.Status == string(store.StatusFailed) && s.ticketLives()
}

// Joinable reports whether the agent can go to the room. While a renewal is under
// way the room will be another one.
func (s cardState) Joinable() bool {
	return s.AgentURL != "" && s.Status != string(store.StatusPending)
}

// Renewable reports whether a new link can be asked for.
func (s cardState) Renewable() bool {
	return s.Generation != "" && s.Status != string(store.StatusPending)
}

// Referred reports whether the card names the conversation, for whoever has to
// look into it.
func (s cardState) Referred() bool {
	return s.Status == string(store.StatusFailed) || s.Status == string(store.StatusUnknown)
}

// ticketLives reports whether there is a ticket that has not ended. All times here
// are of one form and one zone, so their texts compare as they do.
func (s cardState) ticketLives() bool {
	return s.Generation != "" && (s.ExpiresAt == "" || s.Now < s.ExpiresAt)
}

// cardPage is the card with what it shows before its script has run.
type cardPage struct {
	cardState
	InteractionID string
	// Token is the last part of the card's address, below which it finds its
	// events, its QR code and its renewal.
	Token string
	// QRSide is how wide and high the QR code is, in pixels.
	QRSide int
	Texts  texts
}

// card answers GET /card/{token}.
func (v *Viewer) card(w http.ResponseWriter, r *http.Request) {
	secure(w, formsNowhere, v.ancestors)
	claims, err := v.cardClaims(r)
	if err != nil {
		v.show(w, tokenStatus(err), tokenPage(err))
		return
	}
	state, err := v.state(r, claims)
	if err != nil {
		v.show(w, http.StatusServiceUnavailable, pageOutage.following(r))
		return
	}
	v.render(w, http.StatusOK, "card.html", cardPage{
		cardState:     v.cardState(r.Context(), claims, state),
		InteractionID: claims.Subject,
		Token:         chi.URLParam(r, "token"),
		QRSide:        v.qrSide(claims),
		Texts:         english,
	})
}

// cardEvents answers GET /card/{token}/events.
func (v *Viewer) cardEvents(w http.ResponseWriter, r *http.Request) {
	claims, err := v.cardClaims(r)
	if err != nil {
		web.Fail(w, tokenError(err))
		return
	}
	v.stream(w, r, claims, view{
		version: version,
		data:    func(ctx context.Context, state store.State) any { return v.cardState(ctx, claims, state) },
	})
}

// cardClaims are those of a card's token in an address. Its errors are those of
// [access.Keys.Verify].
func (v *Viewer) cardClaims(r *http.Request) (access.Claims, error) {
	return v.config.Pages.Keys.Verify(chi.URLParam(r, "token"), access.PurposeCard, time.Now())
}

func (v *Viewer) cardState(ctx context.Context, claims access.Claims, state store.State) cardState {
	now := time.Now()
	conversation := conversationOf(claims)
	said := cardWords(state)
	shown := cardState{
		Status: string(state.Status), Heading: said.Title, Text: said.Text,
		CustomerURL: v.config.Pages.For(conversation, now).Customer,
		Now:         messages.At(now).String(), Version: version(state),
	}
	if state.DeadLetter != nil {
		shown.Reason = state.DeadLetter.Data.Reason
	}
	if state.Links != nil {
		links := state.Links.Data
		shown.AgentURL, shown.RecordingURL = usable(links.AgentURL), usable(links.RecordingURL)
		shown.ExpiresAt, shown.Generation = links.ExpiresAt.String(), strconv.Itoa(links.Generation)
	}
	if state.Status == store.StatusPending {
		shown.Since = v.waitingSince(ctx, conversation)
	}
	return shown
}

// waitingSince is when the event was stored that a conversation waits for. It only
// ever shows: where it cannot be read, the card counts from when it was opened.
func (v *Viewer) waitingSince(ctx context.Context, conversation messages.Conversation) string {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	event, err := v.config.Client.Waiting(ctx, conversation)
	if err != nil {
		return ""
	}
	return messages.At(event.StoredAt).String()
}

// cardWords say how far a conversation has come.
func cardWords(state store.State) words {
	card := english.Card
	switch state.Status {
	case store.StatusReady:
		return card.Ready
	case store.StatusExpired:
		return card.Expired
	case store.StatusPending:
		if state.Links != nil {
			return card.Renewing
		}
		return card.Waiting
	case store.StatusFailed:
		return failure(card, state)
	}
	return card.Unknown
}

// failure says why there is no room, and what there is all the same.
func failure(card cardTexts, state store.State) words {
	reason, ok := card.Reasons[state.DeadLetter.Data.Reason]
	if !ok {
		reason = card.Reasons[""]
	}
	if state.Links == nil {
		return words{card.Failed.Title, reason}
	}
	return words{card.RenewalFailed.Title, reason + " " + card.RenewalFailed.Text}
}

// version names what there is to show of a state.
func version(state store.State) string {
	text := string(state.Status)
	if state.Links != nil {
		text += fmt.Sprintf(" links %d", state.Links.Sequence)
	}
	if state.DeadLetter != nil {
		text += fmt.Sprintf(" dead letter %d", state.DeadLetter.Sequence)
	}
	return text
}
