package storecheck

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/store"
	"roomlink/messages"
)

// settleTimeout bounds [Settle].
const settleTimeout = 2 * time.Minute

// Settle decides what is missing after the server has recovered its store, and before anything
// changes the streams. It stores a dead letter for each damaged event that has neither links nor
// a dead letter, and returns the report of what is missing. The streams must exist. Its errors are
// those of the broker and of the disk; a later start settles what is left.
func Settle(ctx context.Context, js jetstream.JetStream, found *Findings, log zerolog.Logger) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	report, err := ReadReport(found.dir)
	if found.report != nil {
		report, err = *found.report, nil
	}
	if err != nil {
		return report, err
	}
	s := settler{js: js, store: store.New(js), log: log, report: report, known: map[string]bool{}}
	err = s.settle(ctx, found)
	found.waiting = nil // there may be many
	if err != nil {
		return report, fmt.Errorf("looking for missing events: %w", err)
	}
	slices.SortStableFunc(s.report.Missing, func(a, b Lost) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Token, b.Token))
	})
	s.logMissing()
	copies := s.report.Copies
	if s.report.Count() == 0 {
		s.report.Copies = nil
	}
	if err := s.report.write(found.dir); err != nil {
		return s.report, fmt.Errorf("writing the report of lost messages: %w", err)
	}
	if err := s.forget(found.dir); err != nil {
		return s.report, fmt.Errorf("writing the mark of the queue: %w", err)
	}
	if s.report.Count() == 0 {
		return s.report, removeCopies(found.dir, copies)
	}
	return s.report, nil
}

// settler settles one inspection.
type settler struct {
	js     jetstream.JetStream
	store  *store.Store
	log    zerolog.Logger
	report Report
	// known has the subjects that are missing, without their common beginning.
	known map[string]bool
}

func (s *settler) settle(ctx context.Context, found *Findings) error {
	for _, lost := range s.report.Missing {
		s.known[lost.Account+"."+lost.Token] = true
	}
	damaged := slices.Concat(s.report.Damaged, found.torn)
	s.report.Damaged = nil
	for _, lost := range damaged {
		if err := s.settleDamaged(ctx, lost); err != nil {
			return err
		}
	}
	mark, err := readMark(found.dir)
	if err != nil {
		s.log.Warn().Err(err).Msg("events of a lost block cannot be named")
	}
	if len(found.waiting) == 0 && len(mark.Waiting) == 0 {
		return nil
	}
	stream, err := s.js.Stream(ctx, messages.ConversationsStream)
	if err != nil {
		return err
	}
	recovered, err := waitingSubjects(ctx, stream)
	if err != nil {
		return err
	}
	for _, event := range found.waiting {
		if err := s.settleEvent(ctx, event, recovered); err != nil {
			return err
		}
	}
	for subject, since := range mark.Waiting {
		event := event{subject: subject, at: since * int64(time.Millisecond)}
		if err := s.settleEvent(ctx, event, recovered); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the missing events from the mark. The report has them.
func (s *settler) forget(dir string) error {
	mark, err := readMark(dir)
	before := len(mark.Waiting)
	maps.DeleteFunc(mark.Waiting, func(subject string, _ int64) bool { return s.known[subject] })
	if err != nil || len(mark.Waiting) == before {
		return nil //nolint:nilerr // the next mark replaces a damaged one
	}
	return mark.write(dir)
}

// settleDamaged stores the dead letter of a damaged event, or adds a damaged message to those
// that are missing.
func (s *settler) settleDamaged(ctx context.Context, lost Lost) error {
	if _, ours := subjects[lost.Stream]; !ours {
		return nil // no event, and no answer to one
	}
	if lost.Token == "" {
		s.add(lost)
		return nil
	}
	done, err := s.answered(ctx, lost)
	if err != nil || done {
		return err
	}
	if lost.Stream != messages.ConversationsStream {
		s.add(lost)
		return nil
	}
	letter := deadLetter(lost)
	if err := s.store.PublishDeadLetter(ctx, messages.NewEvent(letter.LastAttemptAt, letter), lost.Token); err != nil {
		lost.event(s.log.Error()).Err(err).Msg("dead letter of a damaged event not stored: the next start tries again")
		s.report.Damaged = append(s.report.Damaged, lost)
		return nil
	}
	lost.event(s.log.Error()).Str("interaction_id", letter.InteractionID).Str("reason", letter.Reason).
		Msg("event became a dead letter")
	return nil
}

// deadLetter returns the dead letter of a damaged event.
func deadLetter(lost Lost) messages.DeadLetter {
	return messages.DeadLetter{
		// Where only the hash of the id is known, it stands for the id, as in all dead letters.
		Conversation: messages.Conversation{
			Account: lost.Account, InteractionID: cmp.Or(lost.InteractionID, lost.Token),
		},
		Reason: messages.ReasonUnreadable,
		Detail: fmt.Sprintf("the store was damaged in %s at byte %d: the event is as the disk has it, "+
			"and any part of it may be wrong", lost.Block, lost.Offset),
		AcceptedAt:    messages.At(lost.Since),
		LastAttemptAt: messages.At(time.Now()),
		Event:         original(lost.Body),
	}
}

// original returns the content of an event as a dead letter contains it: its JSON, or a JSON
// string of it.
func original(body []byte) json.RawMessage {
	if trimmed := bytes.TrimSpace(body); json.Valid(body) && trimmed[0] == '{' {
		return body
	}
	quoted, err := json.Marshal(strings.ToValidUTF8(string(body), "\uFFFD"))
	if err != nil {
		return json.RawMessage(`""`)
	}
	return quoted
}

// settleEvent adds an event that the queue does not have to those that are missing.
func (s *settler) settleEvent(ctx context.Context, e event, recovered map[string]bool) error {
	account, token, ok := strings.Cut(e.subject, ".")
	if recovered[e.subject] || s.known[e.subject] || !ok {
		return nil
	}
	lost := Lost{
		Stream: messages.ConversationsStream, Sequence: e.sequence, Since: timeOf(e.at), Account: account, Token: token,
	}
	if !strings.HasPrefix(token, "~") {
		lost.InteractionID = token
	}
	done, err := s.answered(ctx, lost)
	if err == nil && !done {
		s.add(lost)
	}
	return err
}

// answered reports whether nothing of the conversation is missing. Then the streams have a newer
// message of it: another event, links, or a dead letter. An event leaves the queue only after one
// of the last two is stored.
func (s *settler) answered(ctx context.Context, lost Lost) (bool, error) {
	for stream, prefix := range subjects {
		handle, err := s.js.Stream(ctx, stream)
		if err != nil {
			return false, err
		}
		if age := handle.CachedInfo().Config.MaxAge; stream == lost.Stream && age > 0 && !lost.Since.IsZero() && time.Since(lost.Since) > age {
			return true, nil // too old to be there
		}
		last, err := handle.GetLastMsgForSubject(ctx, prefix+lost.Account+"."+lost.Token)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return false, err
		case stream == messages.ConversationsStream, !last.Time.Before(lost.Since):
			return true, nil
		}
	}
	return false, nil
}

// add adds a missing message.
func (s *settler) add(lost Lost) {
	lost.Body = nil
	if lost.Token != "" {
		s.known[lost.Account+"."+lost.Token] = true
	}
	if len(s.report.Missing) >= maxDamage {
		s.report.More++
		return
	}
	s.report.Missing = append(s.report.Missing, lost)
}

func (s *settler) logMissing() {
	for _, lost := range s.report.Missing[:min(len(s.report.Missing), maxLines)] {
		lost.event(s.log.Error()).Msg(lost.What())
	}
	if count := s.report.Count(); count > 0 {
		s.log.Error().Int("missing", count).
			Msg("the store has lost messages: see \"roomlink store check\", and accept the loss with --accept-loss")
	}
}

// What says in a few words what is missing.
func (d *Lost) What() string {
	kind := map[string]string{
		messages.ConversationsStream: "event",
		messages.LinksStream:         "links",
		messages.DeadLettersStream:   "dead letter",
	}
	what := cmp.Or(kind[d.Stream], "message") + " missing"
	if d.Token == "" {
		what += ": the damage hides of which conversation"
	}
	return what
}
