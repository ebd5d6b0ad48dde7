package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"roomlink/messages"
	"roomlink/worker/auvious"
)

// settle ends a delivery. It is the only place that acknowledges anything.
func (a *account) settle(j *job, err error) {
	if err == nil {
		// The links are stored. If this is lost, the next delivery finds them.
		a.acked(j, j.msg.Ack())
		return
	}
	if errors.Is(err, errHandedBack) {
		// Another process, or the next start, goes on at once.
		a.metrics.settled.WithLabelValues("handed_back").Inc()
		a.giveBack(j, 0)
		return
	}
	age := time.Since(j.past.stored)
	reason := deadReason(err, j.past.unknown, a.Auvious.UnknownRetries, age, a.Auvious.GiveUpAfter)
	if reason != "" {
		failed := a.bury(j, j.msg.Data(), reason, err)
		// Also if it seems not to be stored: the acknowledgement may be lost.
		failed = errors.Join(failed, a.unbury(j))
		if failed == nil {
			// The dead letter is stored, and takes the event's place.
			a.acked(j, j.msg.TermWithReason(reason))
			return
		}
		a.log.Error().Err(failed).Str("token", j.token).Msg("dead letter not stored")
	}
	// What could not be done now is done later; the broker keeps it until then.
	delay := retryDelay(err, j.meta.NumDelivered)
	a.metrics.settled.WithLabelValues("retried").Inc()
	a.log.Warn().Err(err).Str("interaction_id", j.event.Data.InteractionID).
		Uint64("attempt", j.meta.NumDelivered).Int64("retry_in_ms", delay.Milliseconds()).Msg("event will be tried again")
	a.giveBack(j, delay)
}

// giveBack returns an event to the queue, for a delivery after a delay.
func (a *account) giveBack(j *job, delay time.Duration) {
	j.past.delivery, j.past.reply, j.past.due = j.meta.NumDelivered, j.msg.Reply(), time.Now().Add(delay)
	a.history.giveBack(j.meta.Sequence.Stream, j.past) // before it can come again
	if delay == 0 {
		a.acked(j, j.msg.Nak())
		return
	}
	a.acked(j, j.msg.NakWithDelay(delay))
}

// remind gives events back once more whose delay the broker takes for longer than it
// is, as the clock was set back.
func (a *account) remind(now time.Time) {
	since, yes := a.clock.setBack(now)
	if !yes {
		return
	}
	events := a.history.dueAfter(since)
	a.log.Warn().Int("events", len(events)).Msg("clock was set back: events that wait for a retry are given back again")
	nc := a.client.JetStream().Conn()
	for _, p := range events {
		nak := fmt.Appendf(nil, `-NAK {"delay": %d}`, max(p.due.Sub(now), 1).Nanoseconds())
		if err := nc.Publish(p.reply, nak); err != nil {
			a.log.Warn().Err(err).Msg("event not given back again")
		}
	}
}

// acked logs an acknowledgement that did not leave. The broker then delivers the
// event again by itself.
func (a *account) acked(j *job, err error) {
	if err != nil {
		a.log.Warn().Err(err).Str("token", j.token).Msg("event not settled")
	}
}

// bury stores the dead letter of an event.
func (a *account) bury(j *job, data []byte, reason string, cause error) error {
	letter := messages.DeadLetter{
		Conversation:  messages.Conversation{Account: a.Name, InteractionID: j.event.Data.InteractionID},
		Reason:        reason,
		Detail:        auvious.Mask(cause.Error()),
		Attempts:      int(j.meta.NumDelivered),
		AcceptedAt:    messages.At(j.meta.Timestamp),
		LastAttemptAt: messages.At(time.Now()),
		Event:         original(data),
	}
	if letter.InteractionID == "" {
		letter.InteractionID = idOf(j.token) // an event that cannot be read
	}
	if failed, ok := errors.AsType[*auvious.CallError](cause); ok {
		letter.HTTPStatus = failed.Status
	}
	// Not the work's context: that may have ended, and this is to be stored.
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	event := messages.NewEvent(letter.LastAttemptAt, letter)
	event.TraceParent = j.event.TraceParent
	if err := a.client.PublishDeadLetter(ctx, event, j.token); err != nil {
		return err
	}
	a.metrics.settled.WithLabelValues("dead_lettered").Inc()
	a.metrics.deadLetters.WithLabelValues(reason).Inc()
	a.log.Error().Err(cause).Str("interaction_id", letter.InteractionID).Str("reason", reason).
		Int("attempt", letter.Attempts).Msg("event became a dead letter")
	return nil
}

// idOf stands for the interaction id of an event that has none: its token, or
// another one where that is no id.
func idOf(token string) string {
	if messages.ValidateInteractionID(token) != nil {
		return messages.Token(token)
	}
	return token
}

// unbury takes back the dead letter of an event that another delivery brought to
// its links meanwhile: the one that stored them may have looked for it before.
func (a *account) unbury(j *job) error {
	if j.event.ID == "" {
		return nil // it cannot be read
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	conversation, wanted := j.event.Data.Conversation, j.event.Data.Generation()
	stored, err := a.stored(ctx, conversation)
	if err != nil || stored == nil || stored.Data.Generation < wanted {
		return err
	}
	return a.clearDeadLetter(ctx, conversation, wanted)
}

// original is a message as a dead letter holds it: its JSON, or a string if it is
// neither an object nor a string.
func original(data []byte) json.RawMessage {
	if trimmed := bytes.TrimSpace(data); json.Valid(data) && (trimmed[0] == '{' || trimmed[0] == '"') {
		return data
	}
	quoted, err := json.Marshal(string(data))
	if err != nil {
		return json.RawMessage(`""`)
	}
	return quoted
}
