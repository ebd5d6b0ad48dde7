package viewer

import (
	"context"
	"errors"
	"net/http"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

const (
	// renewWithin bounds how long a renewal may take to be stored.
	renewWithin = 3 * time.Second
	// renewAgain is when a renewal that was not stored may be asked for again.
	renewAgain = 2 * time.Second
)

// renewal is what a renewal is answered with, as an event is.
type renewal struct {
	Status        string `json:"status"`
	InteractionID string `json:"interactionId"`
	access.Addresses
}

// renewLinks answers POST /links/{interactionId}/renew.
func (v *Viewer) renewLinks(w http.ResponseWriter, r *http.Request) {
	conversation, identity, err := v.conversation(r, time.Now())
	if err != nil {
		web.Fail(w, err)
		return
	}
	v.renew(w, r, conversation, asker{identity, messages.SourceAPI})
}

// renewCard answers POST /card/{token}/renew, which only the card itself calls.
func (v *Viewer) renewCard(w http.ResponseWriter, r *http.Request) {
	if err := v.crossSite.Check(r); err != nil {
		web.Fail(w, &web.Error{Status: http.StatusForbidden, Code: "cross_site", Description: "renew from the card itself"})
		return
	}
	claims, err := v.cardClaims(r)
	if err != nil {
		web.Fail(w, tokenError(err))
		return
	}
	v.renew(w, r, conversationOf(claims), asker{cardIdentity, messages.SourceCard})
}

// asker is who asks for a renewal, and on which way.
type asker struct {
	access.Identity

	source string
}

// cardIdentity is whoever has the address of a card: that is the key.
var cardIdentity = access.Identity{Credential: "card", Kind: "signed_url"}

// renew has new links made in place of those that a conversation has.
func (v *Viewer) renew(
	w http.ResponseWriter, r *http.Request, conversation messages.Conversation, by asker,
) {
	now := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), renewWithin)
	defer cancel()
	outcome, err := v.config.Client.Renew(ctx, conversation, by.source, now)
	v.log.Info().Str("kind", "audit").Str("account", conversation.Account).
		Str("credential", by.Credential).Str("credential_kind", by.Kind).
		Str("remote", r.RemoteAddr).Str("shape", by.source).Str("interaction_id", conversation.InteractionID).
		Str("outcome", renewalOutcome(outcome, err)).AnErr("cause", err).Msg("renewal asked for")
	if err != nil {
		web.Fail(w, renewalError(err))
		return
	}
	status := http.StatusAccepted
	if outcome == store.Duplicate {
		status = http.StatusOK
	}
	web.JSON(w, status, &renewal{
		Status: outcome.String(), InteractionID: conversation.InteractionID,
		Addresses: v.config.Pages.For(conversation, now),
	})
}

func renewalOutcome(outcome store.Outcome, err error) string {
	switch {
	case err == nil:
		return outcome.String()
	case errors.Is(err, messages.ErrNotFound):
		return "refused"
	}
	return "unavailable"
}

// renewalError says how a renewal is answered that was not stored.
func renewalError(err error) error {
	switch {
	case errors.Is(err, messages.ErrNotFound):
		return web.NotFound("the conversation has no links that could be renewed")
	case errors.Is(err, store.ErrQueueFull):
		return web.Unavailable("queue_full", "the queue is full: ask again later", renewAgain)
	}
	return web.Unavailable("queue_unavailable", "the renewal could not be stored: ask again", renewAgain)
}
