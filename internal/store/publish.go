package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/tracing"
	"roomlink/messages"
)

// Outcome is the result of publishing an event.
type Outcome int

const (
	// Accepted reports that the event is stored.
	Accepted Outcome = iota
	// Duplicate reports that an earlier event of the conversation is stored.
	Duplicate
)

// String returns the outcome as one lower-case word.
func (o Outcome) String() string {
	if o == Duplicate {
		return "duplicate"
	}
	return "accepted"
}

// nats-server refuses a message with errCodeStoreFailed for several reasons. Only the
// text tells them apart (nats-server, store.go).
const (
	errCodeStoreFailed jetstream.ErrorCode = 10077

	textPerSubject = "maximum messages per subject exceeded"
	textMaxBytes   = "maximum bytes exceeded"
	textMaxMsgs    = "maximum messages exceeded"
)

// maxPublishAttempts bounds the attempts to publish an event while the broker refuses it
// because of an event that is not stored.
const maxPublishAttempts = 3

// MessageID returns the Nats-Msg-Id of an event. The broker recognizes a repeat by it
// within its duplicate window.
func MessageID(s messages.Started) string {
	return s.Account + "/" + messages.Token(s.InteractionID) + "/" + strconv.Itoa(s.Generation())
}

// Publish stores the event that asks for a room. It returns when the broker has
// acknowledged the event, or when an event of the conversation is stored already. It
// returns [ErrQueueFull] if the queue is full, an error that wraps [messages.ErrInvalid]
// for an event that breaks the contract, and an error that wraps the health check's. In
// these cases the event is not stored. An event without a trace context gets that of ctx. After any other error it may be stored or not.
func (s *Store) Publish(ctx context.Context, e messages.Event[messages.Started]) (Outcome, error) {
	return s.publish(ctx, e, MessageID(e.Data))
}

func (s *Store) publish(
	ctx context.Context, e messages.Event[messages.Started], messageID string,
) (Outcome, error) {
	if s.healthCheck != nil {
		if err := s.healthCheck(); err != nil {
			return 0, fmt.Errorf("publishing the event: %w", err)
		}
	}
	e.TraceParent = cmp.Or(e.TraceParent, tracing.Parent(ctx))
	for attempt := 1; ; attempt++ {
		msg, err := e.Message(e.Data.EventSubject())
		if err != nil {
			return 0, err
		}
		msg.Header[jetstream.MsgIDHeader] = []string{messageID}
		ack, err := s.put(ctx, s.events, msg, messages.ConversationsStream)
		switch {
		case err == nil && ack.Duplicate:
			return Duplicate, nil
		case err == nil:
			return Accepted, nil
		case isFull(err):
			return 0, ErrQueueFull
		case !isOccupied(err):
			return 0, fmt.Errorf("publishing the event: %w", err)
		}
		// The broker also refuses because of an event that is still on its way into the
		// stream and may never arrive. Only a stored event makes this one a duplicate. If
		// none is stored, the subject is free: try again.
		since, err := s.waitingSince(ctx, e.Data.Conversation)
		if err != nil {
			return 0, err
		}
		if !since.IsZero() {
			return Duplicate, nil
		}
		if attempt == maxPublishAttempts {
			return 0, fmt.Errorf("publishing the event: %w, and is not stored yet", ErrWaiting)
		}
	}
}

// PublishAfter publishes an event that asks for the links after those of a snapshot:
// the first links, or a renewal. If the snapshot has a dead letter, the broker's
// duplicate window does not hold the event back. Two callers with the same snapshot
// publish one event. Results and errors are those of [Store.Publish].
func (s *Store) PublishAfter(
	ctx context.Context, e messages.Event[messages.Started], known Snapshot,
) (Outcome, error) {
	e.Data.Renews = known.Generation()
	id := MessageID(e.Data)
	if known.DeadLetter != nil {
		id = afterDeadLetter(id, *known.DeadLetter)
	}
	return s.publish(ctx, e, id)
}

// afterDeadLetter returns the message id of an event that follows a dead letter. The time tells
// apart the dead letters of a stream that was deleted and made again, which counts from 1 again.
func afterDeadLetter(id string, letter messages.Stored[messages.DeadLetter]) string {
	return fmt.Sprintf("%s/%d/%d", id, letter.StoredAt.UnixNano(), letter.Sequence)
}

// Renew asks for new links of a conversation, with the options of the links that it
// has. Several renewals of the same links are one. It returns [messages.ErrNotFound]
// for a conversation without links. Other results and errors are those of
// [Store.Publish].
func (s *Store) Renew(
	ctx context.Context, conversation messages.Conversation, source string, now time.Time,
) (Outcome, error) {
	known, err := s.Snapshot(ctx, conversation)
	if err != nil {
		return 0, err
	}
	if known.Links == nil {
		return 0, messages.ErrNotFound
	}
	return s.PublishAfter(ctx, messages.NewEvent(messages.At(now), messages.Started{
		Request:    known.Links.Data.Request,
		Channel:    messages.ChannelAction,
		Source:     source,
		ReceivedAt: messages.At(now),
	}), known)
}

// Revoke stores the latest links of a conversation once more, revoked at the time now, and
// returns them. It changes nothing if they are revoked already. Only a renewal replaces
// revoked links. Revoke returns an error that wraps [messages.ErrNotFound] for a
// conversation without links, and [ErrSuperseded] if somebody stored other links
// meanwhile. Other errors are those of [Store.Links] and [Store.PublishLinks].
func (s *Store) Revoke(
	ctx context.Context, conversation messages.Conversation, now time.Time,
) (messages.Links, error) {
	known, err := s.Links(ctx, conversation, Leader)
	if err != nil || known.Data.Revoked() {
		return known.Data, err
	}
	at := messages.At(now)
	revoked := messages.NewEvent(at, known.Data.Revoke(at))
	_, err = s.PublishLinks(ctx, revoked, known.Sequence)
	return revoked.Data, err
}

// isOccupied reports whether the broker refused a second message on a subject.
func isOccupied(err error) bool { return isStoreFailure(err, textPerSubject) }

// isFull reports whether the broker refused a message because the stream is full.
func isFull(err error) bool {
	return isStoreFailure(err, textMaxBytes) || isStoreFailure(err, textMaxMsgs)
}

func isStoreFailure(err error, text string) bool {
	refusal, ok := errors.AsType[*jetstream.APIError](err)
	return ok && refusal.ErrorCode == errCodeStoreFailed && strings.Contains(refusal.Description, text)
}

// PublishLinks stores the links of a conversation if its latest links still have the
// sequence after; 0 stands for no links. It returns the sequence of the stored links.
// It returns [ErrSuperseded] if somebody stored others: read those from the leader, and
// decide again. After any other error the links may be stored or not. Publishing the
// same event again is then safe; if they are stored, it returns [ErrSuperseded].
func (s *Store) PublishLinks(
	ctx context.Context, e messages.Event[messages.Links], after uint64,
) (uint64, error) {
	msg, err := e.Message(e.Data.LinksSubject())
	if err != nil {
		return 0, err
	}
	// A message id would not help: the server checks the sequence first.
	msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(after, 10)}
	ack, err := s.put(ctx, s.links, msg, messages.LinksStream)
	if refusal, ok := errors.AsType[*jetstream.APIError](err); ok &&
		refusal.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, ErrSuperseded
	}
	if err != nil {
		return 0, fmt.Errorf("publishing the links: %w", err)
	}
	return ack.Sequence, nil
}

// PublishDeadLetter stores a dead letter, which replaces an earlier one of the same
// conversation. token is the subject token of the event: an unreadable event has no
// interaction id to derive it from. Its errors are the broker's, or wrap
// [messages.ErrInvalid].
func (s *Store) PublishDeadLetter(ctx context.Context, e messages.Event[messages.DeadLetter], token string) error {
	msg, err := e.Message(messages.DeadLetterSubjects + e.Data.Account + "." + token)
	if err != nil {
		return err
	}
	msg.Header[jetstream.MsgIDHeader] = []string{e.ID}
	if _, err = s.put(ctx, nil, msg, messages.DeadLettersStream); err != nil {
		return fmt.Errorf("publishing the dead letter: %w", err)
	}
	return nil
}

// put stores a message in a stream, through the committer if there is one.
func (s *Store) put(ctx context.Context, group *committer, msg *nats.Msg, stream string) (*jetstream.PubAck, error) {
	msg.Header[jetstream.ExpectedStreamHeader] = []string{stream}
	publish := func() (*jetstream.PubAck, error) { return s.js.PublishMsg(ctx, msg) }
	if group != nil {
		publish = func() (*jetstream.PubAck, error) { return group.publish(ctx, msg) }
	}
	ack, err := publish()
	return ack, s.explain(err)
}
