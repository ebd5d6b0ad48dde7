package viewer

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"roomlink/internal/access"
	"roomlink/internal/web"
	"roomlink/messages"
)

const (
	// writeWithin bounds one write to a browser. A slower one is dropped, and
	// comes again by itself.
	writeWithin = 5 * time.Second
	// keepAlive is how often a stream says something, so that proxies leave it.
	keepAlive = 15 * time.Second
)

// cardState is what the card shows: flat, and without the ticket, which the
// customer's own page leads to.
type cardState struct {
	Status       string `json:"status"`
	AgentURL     string `json:"agentUrl"`
	RecordingURL string `json:"recordingUrl"`
	CustomerURL  string `json:"customerUrl"`
	ExpiresAt    string `json:"expiresAt"`
	Reason       string `json:"reason"`
	// Version changes whenever there is something new to show.
	Version string `json:"version"`
}

// cardPage is the card with what it shows before its script has run.
type cardPage struct {
	cardState
	Events string
}

// Text says in words how far the conversation has come.
func (s cardState) Text() string {
	switch messages.Status(s.Status) {
	case messages.StatusReady:
		return "The video room is ready."
	case messages.StatusPending:
		return "The video room is on its way."
	case messages.StatusExpired:
		return "The customer's ticket has ended."
	case messages.StatusFailed:
		return "The video room could not be made: " + s.Reason
	}
	return "There is no video room for this conversation yet."
}

// card answers GET /card/{token}.
func (v *Viewer) card(w http.ResponseWriter, r *http.Request) {
	secure(w, v.ancestors)
	token := chi.URLParam(r, "token")
	claims, err := v.config.Pages.Keys.Verify(token, access.PurposeCard, time.Now())
	if err != nil {
		v.show(w, tokenStatus(err), tokenPage(err))
		return
	}
	state, err := v.state(r, claims)
	if err != nil {
		v.show(w, http.StatusServiceUnavailable, pageOutage)
		return
	}
	v.render(w, http.StatusOK, "card.html", cardPage{
		cardState: v.cardState(claims, state),
		Events:    "/card/" + token + "/events",
	})
}

func (v *Viewer) cardState(claims access.Claims, state messages.State) cardState {
	shown := cardState{Status: string(state.Status), Version: version(state)}
	if state.DeadLetter != nil {
		shown.Reason = state.DeadLetter.Data.Reason
	}
	conversation := messages.Conversation{Account: claims.Account, InteractionID: claims.Subject}
	shown.CustomerURL = v.config.Pages.For(conversation, time.Now()).Customer
	if state.Links != nil {
		shown.AgentURL = state.Links.Data.AgentURL
		shown.RecordingURL = state.Links.Data.RecordingURL
		shown.ExpiresAt = state.Links.Data.ExpiresAt.String()
	}
	return shown
}

// cardEvents answers GET /card/{token}/events: the state whenever it changes, as
// server-sent events (WHATWG HTML, section 9.2).
func (v *Viewer) cardEvents(w http.ResponseWriter, r *http.Request) {
	claims, err := v.config.Pages.Keys.Verify(chi.URLParam(r, "token"), access.PurposeCard, time.Now())
	if err != nil {
		web.Fail(w, &web.Error{Status: tokenStatus(err), Code: "bad_token", Description: err.Error()})
		return
	}
	ctx, stop := web.UntilStopping(r)
	defer stop()
	ctx, cancel := context.WithDeadline(ctx, claims.Expires)
	defer cancel()
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // the stream outlives the limit on a body
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Accel-Buffering", "no")
	v.stream(ctx, w, control, claims)
}

// stream writes states until the browser is gone or too slow.
func (v *Viewer) stream(
	ctx context.Context, w http.ResponseWriter, control *http.ResponseController, claims access.Claims,
) {
	var last string
	var written time.Time
	conversation := messages.Conversation{Account: claims.Account, InteractionID: claims.Subject}
	err := v.config.Feed.Follow(ctx, conversation, refresh, func(state messages.State) bool {
		card := v.cardState(claims, state)
		text := ": still here\n\n"
		switch {
		case card.Version != last:
			data, err := json.Marshal(card)
			if err != nil {
				return true
			}
			text = fmt.Sprintf("event: state\ndata: %s\n\n", data)
		case time.Since(written) < keepAlive:
			return false
		}
		last, written = card.Version, time.Now()
		_ = control.SetWriteDeadline(time.Now().Add(writeWithin))
		if _, err := w.Write([]byte(text)); err != nil {
			return true
		}
		return control.Flush() != nil
	})
	if err != nil && ctx.Err() == nil {
		v.log.Warn().Err(err).Msg("card stream ended")
	}
}

// version names what there is to show of a state.
func version(state messages.State) string {
	text := string(state.Status)
	if state.Links != nil {
		text += fmt.Sprintf(" links %d", state.Links.Sequence)
	}
	if state.DeadLetter != nil {
		text += fmt.Sprintf(" dead letter %d", state.DeadLetter.Sequence)
	}
	return text
}
