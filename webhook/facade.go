package webhook

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"

	"roomlink/internal/store"
	"roomlink/internal/tracing"
	"roomlink/internal/web"
	"roomlink/messages"
)

// lookTimeout bounds the last look for links before an action answers that they take longer.
const lookTimeout = time.Second

// roomAnswer has the output schema of auvious' action (auvious, "Actions", step 3).
type roomAnswer struct {
	AgentURL     string `json:"agentUrl"`
	RecordingURL string `json:"recordingUrl"`
	TicketURL    string `json:"ticketUrl"`
}

// execute answers POST /security/facades/room: it carries out auvious' action, with the
// links that a worker stores.
func (h *Webhook) execute(w http.ResponseWriter, r *http.Request, record *auditRecord) (int, any, error) {
	record.shape = messages.SourceAction
	account, event, err := h.accept(w, r, record, decodeActionBody)
	if err != nil {
		return 0, nil, err
	}
	ctx, stop := web.UntilStopping(r)
	defer stop()
	call := actionCall{
		webhook: h, record: record,
		storeBy: record.began.Add(storeTimeout), answerBy: record.began.Add(h.config.ActionTimeout),
	}
	links, err := call.links(ctx, event.started(account.Name, record.began))
	if err == nil && links.Revoked() {
		record.outcome, err = outcomeRevoked, errRevoked
	}
	if err != nil {
		return 0, nil, err
	}
	h.log.Info().Str("kind", "audit").Str("account", account.Name).Str("credential", record.identity.Credential).
		Str("credential_kind", record.identity.Kind).Str("remote", record.remote).Str("shape", record.shape).
		Str("interaction_id", event.interactionID).Int("generation", links.Generation).
		Str("outcome", "ticket_given").Msg("ticket given out")
	return http.StatusOK, &roomAnswer{
		AgentURL: links.AgentURL, RecordingURL: links.RecordingURL, TicketURL: links.TicketURL.Reveal(),
	}, nil
}

// actionCall is an action under way.
type actionCall struct {
	webhook *Webhook
	record  *auditRecord
	// storeBy is the deadline for storing the event, answerBy that for the links.
	storeBy, answerBy time.Time
	// published is true once the event is stored. The room then comes even if nobody waits.
	published bool
}

// links returns the valid or revoked links of the conversation, or those that a worker stores
// for the event. It returns a [*web.Error] if the event becomes a dead letter, and an error that
// wraps [errPending] if the links do not come in time. Other errors are those of
// [store.Store.PublishAfter] and [store.Store.Snapshot].
func (c *actionCall) links(
	ctx context.Context, event messages.Event[messages.Started],
) (messages.Links, error) {
	c.record.outcome = outcomeUnavailable
	conversation := event.Data.Conversation
	known, err := c.snapshot(ctx, conversation)
	if err != nil {
		return messages.Links{}, err
	}
	if known.Valid(time.Now()) || known.Revoked() {
		c.record.outcome = outcomeKnown
		return known.Links.Data, nil
	}
	deadline := c.storeBy
	if c.answerBy.After(deadline) {
		deadline = c.answerBy
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var result store.State
	var refused error
	err = c.webhook.config.Feed.Follow(ctx, conversation, 0, func(state store.State) bool {
		result = state
		answered := known.AnsweredBy(state)
		if answered || c.published {
			return answered
		}
		// The feed has begun, so it cannot miss the links of this event.
		refused = c.publish(ctx, event, known)
		time.AfterFunc(time.Until(c.answerBy), cancel)
		return refused != nil
	})
	if refused != nil {
		return messages.Links{}, refused
	}
	if err != nil && c.published {
		// A feed that lost its connection is no reason to hide stored links.
		result, err = c.look(ctx, conversation, known, err)
	}
	if err != nil {
		return messages.Links{}, err
	}
	if !c.published {
		c.record.outcome = outcomeKnown // another call's event got the links meanwhile
	}
	if result.DeadLetter != nil {
		return messages.Links{}, roomFailed(result.DeadLetter.Data.Reason)
	}
	return result.Links.Data, nil
}

// look reads the state once more after waiting ended with an error. It returns an error that
// wraps [errPending] and the given one if the event has no answer yet.
func (c *actionCall) look(
	ctx context.Context, conversation messages.Conversation, known store.Snapshot, waiting error,
) (store.State, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	found, err := c.webhook.config.Store.Snapshot(ctx, conversation)
	state := found.State(time.Now())
	if err != nil || !known.AnsweredBy(state) {
		return store.State{}, fmt.Errorf("%w: %w", errPending, waiting)
	}
	return state, nil
}

// snapshot reads the snapshot of the conversation.
func (c *actionCall) snapshot(ctx context.Context, conversation messages.Conversation) (store.Snapshot, error) {
	ctx, cancel := context.WithDeadline(ctx, c.storeBy)
	defer cancel()
	return c.webhook.config.Store.Snapshot(ctx, conversation)
}

// publish stores the event, even if the caller hung up.
func (c *actionCall) publish(
	ctx context.Context, event messages.Event[messages.Started], known store.Snapshot,
) error {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), c.storeBy)
	defer cancel()
	publishing, span := tracing.Start(ctx, "publish event", trace.SpanKindProducer)
	outcome, err := c.webhook.config.Store.PublishAfter(publishing, event, known)
	tracing.End(span, err)
	if err != nil {
		return err
	}
	c.published = true
	c.record.outcome = outcome.String()
	return nil
}
