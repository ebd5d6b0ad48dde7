package webhook

import (
	"context"
	"errors"
	"net/http"
	"time"

	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
)

// roomAnswer is the answer of auvious' own action, held to its output schema
// (auvious, "Actions", step 3).
type roomAnswer struct {
	AgentURL     string `json:"agentUrl"`
	RecordingURL string `json:"recordingUrl"`
	TicketURL    string `json:"ticketUrl"`
}

// facade answers POST /security/facades/room: an Execute Action as auvious' own
// page has it, with the links that the worker stores.
func (h *Webhook) facade(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	line := audit{remote: r.RemoteAddr, shape: messages.SourceAction}
	links, err := h.execute(w, r, &line)
	line.took = time.Since(began)
	h.audit(line, err)
	if err != nil {
		web.Fail(w, err)
		return
	}
	web.JSON(w, http.StatusOK, &roomAnswer{
		AgentURL: links.AgentURL, RecordingURL: links.RecordingURL, TicketURL: links.TicketURL.Reveal(),
	})
}

// execute carries out an action: known links at once, else those that the worker
// stores within the time-out. Its errors are [*web.Error]s.
func (h *Webhook) execute(w http.ResponseWriter, r *http.Request, line *audit) (messages.Links, error) {
	now := time.Now()
	account, err := h.admit(r, line, now)
	if err != nil {
		return messages.Links{}, err
	}
	n, err := h.readAction(w, r, account)
	if err != nil {
		line.outcome = "refused"
		return messages.Links{}, err
	}
	line.interactionID = n.interactionID
	ctx, stop := web.UntilStopping(r)
	defer stop()
	wait := waiting{
		webhook: h, line: line,
		stored: now.Add(storeWithin), until: now.Add(h.config.ActionTimeout),
	}
	links, err := wait.obtain(ctx, messages.NewEvent(messages.At(now), n.started(account.Name, now)))
	line.cause = err
	return links, wait.answer(err)
}

// waiting is an action that waits for its links.
type waiting struct {
	webhook *Webhook
	line    *audit
	// stored is until when the event must be stored, until when the caller is told
	// that its links take longer.
	stored, until time.Time
	// published is true once the room comes whether anybody waits or not.
	published bool
}

// obtain returns the links of an action's conversation: those that are there, or
// those that a worker stores for its event.
func (w *waiting) obtain(ctx context.Context, event messages.Event[messages.Started]) (messages.Links, error) {
	w.line.outcome = "unavailable"
	conversation := event.Data.Conversation
	known, err := w.latest(ctx, conversation)
	if err != nil {
		return messages.Links{}, err
	}
	if known.Valid(time.Now()) {
		w.line.outcome = "known"
		return known.Links.Data, nil
	}
	latest := w.stored
	if w.until.After(latest) {
		latest = w.until
	}
	ctx, cancel := context.WithDeadline(ctx, latest)
	defer cancel()
	var links messages.Links
	var failed error
	err = w.webhook.config.Feed.Follow(ctx, conversation, 0, func(state store.State) bool {
		if !known.AnsweredBy(state) {
			if w.published {
				return false
			}
			// Only now, when nothing that comes of it can be missed.
			failed = w.publish(ctx, event, known)
			time.AfterFunc(time.Until(w.until), cancel)
			return failed != nil
		}
		if !w.published {
			w.line.outcome = "known" // by another caller's event, a moment ago
		}
		if state.DeadLetter != nil {
			failed = deadLetterError{state.DeadLetter.Data.Reason}
			return true
		}
		links = state.Links.Data
		return true
	})
	if err != nil {
		return messages.Links{}, err
	}
	return links, failed
}

// latest reads what the leaders have of the conversation.
func (w *waiting) latest(ctx context.Context, conversation messages.Conversation) (store.Snapshot, error) {
	ctx, cancel := context.WithDeadline(ctx, w.stored)
	defer cancel()
	return w.webhook.config.Client.Snapshot(ctx, conversation)
}

// publish stores the event of an action, though its caller may have hung up by
// now.
func (w *waiting) publish(
	ctx context.Context, event messages.Event[messages.Started], known store.Snapshot,
) error {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), w.stored)
	defer cancel()
	outcome, err := w.webhook.config.Client.PublishAfter(ctx, event, known)
	if err != nil {
		return err
	}
	w.published = true
	w.line.outcome = outcome.String()
	return nil
}

// deadLetterError says that the event of an action got no links, and why.
type deadLetterError struct{ reason string }

// Error implements error.
func (d deadLetterError) Error() string { return "the room could not be made: " + d.reason }

// answer says how an action without links is answered; nil for one with.
func (w *waiting) answer(err error) error {
	var failed deadLetterError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		return &web.Error{Status: http.StatusBadGateway, Code: failed.reason, Description: failed.Error()}
	case w.published:
		return &web.Error{
			Status: http.StatusGatewayTimeout, Code: "timeout",
			Description: "the room is not there yet, and still comes: ask again",
		}
	}
	return storeError(err)
}
