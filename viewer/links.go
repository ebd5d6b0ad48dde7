package viewer

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/interaction"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

// linksAnswer is a flat object of strings: Talkdesk maps nothing else easily. A value that does not exist is
// "".
type linksAnswer struct {
	Status        string `json:"status"`
	InteractionID string `json:"interactionId"`
	AgentURL      string `json:"agentUrl"`
	RecordingURL  string `json:"recordingUrl"`
	TicketURL     string `json:"ticketUrl"`
	ExpiresAt     string `json:"expiresAt"`
	access.Addresses
	// Reason is the reason of the dead letter of a failed conversation.
	Reason string `json:"reason"`
}

// links answers GET /links/{interactionId}.
func (v *Viewer) links(w http.ResponseWriter, r *http.Request) {
	answer, err := v.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	web.JSON(w, http.StatusOK, &answer)
}

// find returns the links that a request asks for.
func (v *Viewer) find(r *http.Request) (linksAnswer, error) {
	now := time.Now()
	conversation, identity, err := v.conversation(r, now)
	if err != nil {
		return linksAnswer{}, err
	}
	wait, err := waitOf(r)
	if err != nil {
		return linksAnswer{}, err
	}
	state, err := v.await(r, conversation, wait)
	if err != nil {
		return linksAnswer{}, err
	}
	answer := linksAnswer{
		Status: string(state.Status), InteractionID: conversation.InteractionID,
		Addresses: v.config.Pages.For(conversation, now),
	}
	if state.DeadLetter != nil {
		answer.Reason = state.DeadLetter.Data.Reason
	}
	if state.Links != nil {
		links := state.Links.Data
		answer.AgentURL, answer.RecordingURL = links.AgentURL, links.RecordingURL
		answer.ExpiresAt = links.ExpiresAt.String()
		if !links.Expired(time.Now()) {
			answer.TicketURL = links.TicketURL.Reveal()
			v.auditTicket(r, caller{identity, messages.SourceAPI}, links)
		}
	}
	return answer, nil
}

// auditTicket notes who gets the ticket of some links; nobody, if they have none.
func (v *Viewer) auditTicket(r *http.Request, to caller, links messages.Links) {
	if links.TicketURL == "" {
		return
	}
	v.log.Info().Str("kind", "audit").Str("account", links.Account).Str("credential", to.Credential).
		Str("credential_kind", to.Kind).Str("remote", r.RemoteAddr).Str("shape", to.source).
		Str("interaction_id", links.InteractionID).Int("generation", links.Generation).
		Str("outcome", "ticket_given").Msg("ticket given out")
}

// conversation returns the conversation in the address of a request, in the account of the caller, and the
// caller's identity. Its errors are [*web.Error]s, and those of [access.Authenticator.Authenticate].
func (v *Viewer) conversation(r *http.Request, now time.Time) (messages.Conversation, access.Identity, error) {
	identity, err := v.config.Authenticator.Authenticate(r, now)
	if err != nil {
		return messages.Conversation{}, identity, err
	}
	id, err := web.PathValue(r, "interactionId")
	if err != nil {
		return messages.Conversation{}, identity, err
	}
	if id, err = interaction.ID(id); err != nil {
		return messages.Conversation{}, identity, web.BadRequest("bad_interaction_id", "%v", err)
	}
	return messages.Conversation{Account: identity.Account, InteractionID: id}, identity, nil
}

// waitOf reads ?wait=, a Go duration or a number of seconds, and shortens it to [maxWait].
func waitOf(r *http.Request) (time.Duration, error) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil {
		wait, err = time.ParseDuration(text + "s")
	}
	if err != nil || wait < 0 {
		return 0, web.BadRequest("bad_wait", "wait is neither a duration such as 4s nor a number of seconds")
	}
	return min(wait, maxWait), nil
}

// await returns the state of a conversation as soon as it is done, or after the wait. Its errors wrap
// [errState].
func (v *Viewer) await(
	r *http.Request, conversation messages.Conversation, wait time.Duration,
) (store.State, error) {
	ctx, stop := web.UntilStopping(r)
	defer stop()
	state, err := v.state(ctx, conversation)
	if err != nil || wait == 0 || state.Done() {
		return state, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	v.waits.Inc()
	defer v.waits.Dec()
	err = v.config.Feed.Follow(ctx, conversation, refreshInterval, func(now store.State) bool {
		state = now
		return now.Done()
	})
	if err != nil && ctx.Err() == nil {
		return state, fmt.Errorf("%w: %w", errState, err)
	}
	return state, nil // after the wait, the last state counts
}
