package viewer

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"roomlink/internal/access"
	"roomlink/internal/store"
	"roomlink/messages"
)

// cardState is the data of the card: flat, and without the ticket.
type cardState struct {
	Status       string `json:"status"`
	Heading      string `json:"heading"`
	Text         string `json:"text"`
	AgentURL     string `json:"agentUrl"`
	RecordingURL string `json:"recordingUrl"`
	CustomerURL  string `json:"customerUrl"`
	ExpiresAt    string `json:"expiresAt"`
	// Since is when the waiting event was stored.
	Since  string `json:"since"`
	Reason string `json:"reason"`
	// Generation is the generation of the links; "" without links, which cannot be renewed.
	Generation string `json:"generation"`
	// Now is the server's time: the clock of a browser may be wrong.
	Now string `json:"now"`
	// Version changes with what the card shows.
	Version string `json:"version"`
}

// CustomerCanJoin reports whether the customer's link leads to a room.
func (s cardState) CustomerCanJoin() bool {
	// The times are texts of one format and zone.
	valid := s.Generation != "" && (s.ExpiresAt == "" || s.Now < s.ExpiresAt)
	return s.Status == string(store.StatusReady) || s.Status == string(store.StatusFailed) && valid
}

// AgentCanJoin reports whether the agent may enter the room. A renewal is about to replace it.
func (s cardState) AgentCanJoin() bool {
	return s.AgentURL != "" && s.Status != string(store.StatusPending)
}

// HasReference reports whether the card names the conversation, for support.
func (s cardState) HasReference() bool {
	return s.Status == string(store.StatusFailed) || s.Status == string(store.StatusUnknown)
}

// cardPage is the data of the card's page.
type cardPage struct {
	cardState
	InteractionID string
	// Token is the last part of the card's address, and the first part of the addresses relative to it.
	Token string
	// QRSide is the width and height of the QR code in pixels.
	QRSide int
	Root   root
	Texts  texts
}

// card answers GET /card/{token}.
func (v *Viewer) card(w http.ResponseWriter, r *http.Request) {
	claims, state, err := v.lookUp(r, cardPurposes)
	if err != nil {
		v.showError(w, r, err)
		return
	}
	status := http.StatusOK
	if state.Status == store.StatusRevoked {
		status = http.StatusGone
	}
	v.render(w, status, "card.html", cardPage{
		cardState:     v.cardState(r.Context(), claims, state),
		InteractionID: claims.Subject,
		Token:         chi.URLParam(r, "token"),
		QRSide:        v.qrSide(claims),
		Root:          rootOf(r),
		Texts:         english,
	})
}

// cardView is what a card follows.
func (v *Viewer) cardView(claims access.Claims) view {
	return view{version, func(ctx context.Context, state store.State) any { return v.cardState(ctx, claims, state) }}
}

func (v *Viewer) cardState(ctx context.Context, claims access.Claims, state store.State) cardState {
	progress := cardWords(state)
	shown := cardState{
		Status: string(state.Status), Heading: progress.Title, Text: progress.Text,
		CustomerURL: v.customerURL(claims), Now: messages.At(time.Now()).String(), Version: version(state),
	}
	if state.DeadLetter != nil {
		shown.Reason = state.DeadLetter.Data.Reason
	}
	if state.Links != nil {
		links := state.Links.Data
		shown.AgentURL, shown.RecordingURL = usable(links.AgentURL), usable(links.RecordingURL)
		shown.ExpiresAt, shown.Generation = links.ExpiresAt.String(), strconv.Itoa(links.Generation)
		if links.Revoked() {
			shown.ExpiresAt = links.RevokedAt.String() // the end of the customer's link
		}
	}
	if state.Status == store.StatusPending {
		shown.Since = v.waitingSince(ctx, conversationOf(claims))
	}
	return shown
}

// waitingSince returns when the waiting event was stored. If that is unknown, it returns "", and the card
// counts from its own start.
func (v *Viewer) waitingSince(ctx context.Context, conversation messages.Conversation) string {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	event, err := v.config.Store.Waiting(ctx, conversation)
	if err != nil {
		return ""
	}
	return messages.At(event.StoredAt).String()
}

// cardWords returns the words for the state of a conversation.
func cardWords(state store.State) words {
	card := english.Card
	switch state.Status {
	case store.StatusReady:
		return card.Ready
	case store.StatusExpired:
		return card.Expired
	case store.StatusRevoked:
		return card.Revoked
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

// failure returns the words for a failed conversation.
func failure(card cardTexts, state store.State) words {
	reason := cmp.Or(card.Reasons[state.DeadLetter.Data.Reason], card.Reasons[""])
	if !state.HasRoom() {
		return words{card.Failed.Title, reason}
	}
	return words{card.RenewalFailed.Title, reason + " " + card.RenewalFailed.Text}
}

// version identifies what the card shows of a state.
func version(state store.State) string {
	text := string(state.Status)
	if state.Links != nil {
		text += fmt.Sprintf(" links %d at %d", state.Links.Sequence, state.Links.StoredAt.UnixNano())
	}
	if state.DeadLetter != nil {
		text += fmt.Sprintf(" dead letter %d at %d", state.DeadLetter.Sequence, state.DeadLetter.StoredAt.UnixNano())
	}
	return text
}
