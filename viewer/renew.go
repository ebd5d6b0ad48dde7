package viewer

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"

	"roomlink/internal/access"
	"roomlink/internal/store"
	"roomlink/internal/tracing"
	"roomlink/internal/web"
	"roomlink/messages"
)

// renewTimeout bounds the time to store a renewal.
const renewTimeout = 3 * time.Second

// renewLinks answers POST /links/{interactionId}/renew.
func (v *Viewer) renewLinks(w http.ResponseWriter, r *http.Request) {
	conversation, identity, err := v.conversation(r, time.Now())
	if err != nil {
		fail(w, err)
		return
	}
	v.renew(w, r, conversation, caller{identity, messages.SourceAPI})
}

// renewCard answers POST /card/{token}/renew.
func (v *Viewer) renewCard(w http.ResponseWriter, r *http.Request) {
	claims, err := v.claims(r, cardPurposes)
	if err != nil {
		fail(w, err)
		return
	}
	v.renew(w, r, conversationOf(claims), caller{cardIdentity, messages.SourceCard})
}

// caller is who asks for a renewal.
type caller struct {
	access.Identity

	// source is one of the Source constants of messages, or "page" for the customer's page.
	source string
}

// cardIdentity is the identity of everybody who has the address of the card.
var cardIdentity = access.Identity{Credential: "card", Kind: access.KindSignedURL}

// renew asks for new links of a conversation, even if the caller hung up.
func (v *Viewer) renew(
	w http.ResponseWriter, r *http.Request, conversation messages.Conversation, by caller,
) {
	now := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), renewTimeout)
	defer cancel()
	publishing, span := tracing.Start(ctx, "publish event", trace.SpanKindProducer)
	outcome, err := v.config.Store.Renew(publishing, conversation, by.source, now)
	tracing.End(span, err)
	result := "unavailable"
	switch {
	case err == nil:
		result = outcome.String()
	case errors.Is(err, messages.ErrNotFound):
		result = "refused"
	}
	entry := v.log.Info()
	if err != nil {
		entry = v.log.Warn().AnErr("error", answers.Answer(err)).AnErr("cause", err)
	}
	entry.Str("kind", "audit").Str("account", conversation.Account).
		Str("credential", by.Credential).Str("credential_kind", by.Kind).
		Str("remote", r.RemoteAddr).Str("shape", by.source).Str("interaction_id", conversation.InteractionID).
		Str("outcome", result).Msg("renewal asked for")
	if err != nil {
		fail(w, err)
		return
	}
	status := http.StatusAccepted
	if outcome == store.Duplicate {
		status = http.StatusOK
	}
	web.JSON(w, status, &web.EventAnswer{
		Status: outcome.String(), InteractionID: conversation.InteractionID,
		Addresses: v.config.Pages.For(conversation, now),
	})
}
