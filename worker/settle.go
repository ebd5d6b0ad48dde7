package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"roomlink/messages"
	"roomlink/worker/auvious"
)

// ReplaceTime is the shortest time in which somebody may make a deleted stream again. A job that took longer looks
// whether its event is still there.
const ReplaceTime = time.Second

// settle ends a delivery. Only settle and its helpers in this file acknowledge an event.
func (a *account) settle(j *job, err error) {
	if a.replaced(j) {
		a.log.Warn().AnErr("outcome", err).Str("token", j.token).Msg("event left alone: it is not in the queue any more")
		return
	}
	if err == nil {
		// The links are stored. If the broker misses this, the job of the next delivery finds them.
		a.logUnsent(j, j.msg.Ack())
		return
	}
	if errors.Is(err, errHandedBack) {
		// Another process, or the next start of this one, gets the event at once.
		a.metrics.settled.WithLabelValues("handed_back").Inc()
		a.giveBack(j, 0)
		return
	}
	if reason := a.deadLetterReason(err, j.unknown, time.Since(j.storedAt)); reason != "" {
		failed := a.deadLetter(j, reason, err)
		if failed == nil {
			// The dead letter is stored and replaces the event.
			a.logUnsent(j, j.msg.TermWithReason(reason))
			return
		}
		a.log.Error().Err(failed).Str("token", j.token).Msg("dead letter not stored")
	}
	// The broker keeps the event until the retry.
	delay := retryDelay(err, j.meta.NumDelivered)
	a.metrics.settled.WithLabelValues("retried").Inc()
	a.repeats.Line(&a.log, zerolog.WarnLevel, "retry "+causeOf(err)).Err(err).Str("interaction_id", j.event.Data.InteractionID).
		Uint64("attempt", j.meta.NumDelivered).Int64("retry_in_ms", delay.Milliseconds()).Msg("event will be retried")
	a.giveBack(j, delay)
}

// causeOf returns a word of a closed list for an error: what came from auvious, or the label of its policy.
func causeOf(err error) string {
	if failed, ok := errors.AsType[*auvious.CallError](err); ok && failed.Cause != "" {
		return string(failed.Endpoint) + " " + string(failed.Cause)
	}
	return policyOf(err).label
}

// replaced reports whether the event of a job is not in the queue any more. If somebody deleted the stream meanwhile, a
// new event may have its sequence, and the acknowledgement would be taken for that of the new one.
func (a *account) replaced(j *job) bool {
	if time.Since(j.began) < ReplaceTime {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	at, err := a.store.EventTime(ctx, j.meta.Sequence.Stream)
	return errors.Is(err, messages.ErrNotFound) || err == nil && !at.Equal(j.meta.Timestamp)
}

// giveBack returns an event to the queue. The broker delivers it again after the delay.
func (a *account) giveBack(j *job, delay time.Duration) {
	j.earlier = j.earlier.plus(j.spent)
	j.number, j.reply, j.due = j.meta.NumDelivered, j.msg.Reply(), time.Now().Add(delay)
	a.deliveries.giveBack(j) // before the next delivery
	a.logUnsent(j, j.msg.NakWithDelay(delay))
}

// renak repeats the NAK of waiting events after the clock was set back. The broker tells by the wall clock when an
// event is due, and would deliver it late by the whole step. The NAK is written by hand, because a [jetstream.Msg]
// refuses a second one.
func (a *account) renak(now time.Time) {
	since, yes := a.clock.setBack(now)
	if !yes {
		return
	}
	waiting := a.deliveries.dueAfter(since)
	a.log.Warn().Int("events", len(waiting)).Msg("clock was set back: renewing the delay of events that wait for a retry")
	for _, known := range waiting {
		nak := fmt.Appendf(nil, `-NAK {"delay": %d}`, max(known.due.Sub(now), 1).Nanoseconds())
		if err := a.store.JetStream().Conn().Publish(known.reply, nak); err != nil {
			a.log.Warn().Err(a.store.Explain(err)).Msg("delay not renewed")
		}
	}
}

// logUnsent logs the error of an acknowledgement. The broker then delivers the event again by itself.
func (a *account) logUnsent(j *job, err error) {
	if err != nil {
		a.log.Warn().Err(a.store.Explain(err)).Str("token", j.token).Msg("acknowledgement not sent")
	}
}

// deadLetter stores the dead letter of an event, and retracts it if the event has links meanwhile.
func (a *account) deadLetter(j *job, reason string, cause error) error {
	letter := messages.DeadLetter{
		Conversation:  messages.Conversation{Account: a.Name, InteractionID: j.event.Data.InteractionID},
		Reason:        reason,
		Detail:        auvious.Mask(cause.Error()),
		Attempts:      int(j.meta.NumDelivered),
		AcceptedAt:    messages.At(j.meta.Timestamp),
		LastAttemptAt: messages.At(time.Now()),
		Event:         originalEvent(j.data),
	}
	if letter.InteractionID == "" {
		letter.InteractionID = idOfToken(j.token) // of an unreadable event
	}
	if failed, ok := errors.AsType[*auvious.CallError](cause); ok {
		letter.HTTPStatus = failed.Status
	}
	event := messages.NewEvent(letter.LastAttemptAt, letter)
	event.TraceParent = j.event.TraceParent
	// The context of the work may have ended. The dead letter must be stored all the same.
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	began := time.Now()
	err := a.store.PublishDeadLetter(ctx, event, j.token)
	j.spent.store += time.Since(began)
	if err == nil {
		a.metrics.settled.WithLabelValues("dead_lettered").Inc()
		a.metrics.deadLetters.WithLabelValues(reason).Inc()
		j.end(a.log.Error().Err(cause).Str("reason", reason), letter.InteractionID, "dead_lettered", "event became a dead letter")
	}
	// Even after an error: the dead letter may be stored although its acknowledgement is lost.
	return errors.Join(err, a.retractDeadLetter(j))
}

// idOfToken returns an interaction id for an event that has none: its token, or the token's hash if the token is no
// interaction id.
func idOfToken(token string) string {
	if messages.ValidateInteractionID(token) != nil {
		return messages.Token(token)
	}
	return token
}

// retractDeadLetter deletes the dead letter of an event if another delivery of the event led to links. That delivery
// may have looked for a dead letter before this one stored it.
func (a *account) retractDeadLetter(j *job) error {
	if j.event.ID == "" {
		return nil // an unreadable event has no links
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	stored, err := a.storedLinks(ctx, j)
	if err != nil || stored == nil || stored.Data.Generation < j.event.Data.Generation() {
		return err
	}
	return a.clearDeadLetter(ctx, j)
}

// originalEvent returns the original message as a dead letter contains it: its JSON, or a JSON string of it if it is
// neither an object nor a string.
func originalEvent(data []byte) json.RawMessage {
	if trimmed := bytes.TrimSpace(data); json.Valid(data) && (trimmed[0] == '{' || trimmed[0] == '"') {
		return data
	}
	quoted, err := json.Marshal(string(data))
	if err != nil {
		return json.RawMessage(`""`)
	}
	return quoted
}
