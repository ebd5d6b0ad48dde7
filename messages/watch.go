package messages

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// maxUnread bounds the messages that wait for a slow function. The client drops others.
	maxUnread = 1024
	// retryDelay is the time between two attempts to read from a broker in trouble.
	retryDelay = time.Second
)

var (
	// errDone ends listening without an error.
	errDone = errors.New("done")
	// errAgain asks to catch up again later.
	errAgain = errors.New("not caught up")
)

// WatchOptions configure [Subscriber.Watch].
type WatchOptions struct {
	// CatchUp is called when there may be links that Watch does not report: once when the
	// watch has begun, and after every interruption. Read there the conversations that you
	// wait for, with [Subscriber.Links]. An error ends the watch. nil for none.
	CatchUp func(context.Context) error
}

// Watch calls fn with the links of an account as the broker stores them, one after the
// other. It leaves out what was stored before, while the connection was interrupted, or
// while fn was far behind, and calls CatchUp then. To receive every conversation, use
// [Subscriber.Consume].
//
// Watch ends when the context ends or fn returns an error, and returns that error. It
// survives a restart of the broker and skips messages that break the contract. It returns
// an error that wraps [ErrInvalid] for an impossible account, and [ErrPermission] if the
// broker does not permit it. Any other error means that the connection is closed.
func (s *Subscriber) Watch(
	ctx context.Context, account string, options WatchOptions, fn func(Stored[Links]) error,
) error {
	if err := ValidateAccount(account); err != nil {
		return err
	}
	subject := LiveSubjects + account + ".*"
	ctx, stop := s.refusals.guard(ctx, subject)
	defer stop()
	return s.listen(ctx, []string{subject}, options.CatchUp, func(msg *nats.Msg) error {
		if links, err := DecodeLive[Links](msg); err == nil {
			return fn(links)
		}
		return nil
	})
}

// Wait returns the latest links of a conversation as soon as there are any, be they
// expired or revoked. If there is a dead letter instead and the broker permits to read it,
// Wait returns a [*FailedError]. It survives a restart of the broker. It returns an error
// that wraps [ErrInvalid] for an impossible conversation, [ErrPermission] if the broker
// does not permit it, and the context's error when the context ends. Any other error means
// that the connection is closed.
func (s *Subscriber) Wait(ctx context.Context, conversation Conversation) (Stored[Links], error) {
	if err := conversation.Validate(); err != nil {
		return Stored[Links]{}, err
	}
	end := conversation.Account + "." + Token(conversation.InteractionID)
	guarded, stop := s.refusals.guard(ctx, LiveSubjects+end)
	defer stop()
	subjects := []string{LiveSubjects + end}
	if !s.noDeadLetters.Load() {
		// Without the permission, Wait still returns links.
		_, stop := s.refusals.guard(ctx, FailedSubjects+end)
		defer stop()
		subjects = append(subjects, FailedSubjects+end)
	}
	var found Stored[Links]
	err := s.listen(guarded, subjects, func(ctx context.Context) (err error) {
		found, err = s.outcome(ctx, conversation)
		return err
	}, func(msg *nats.Msg) error {
		if strings.HasPrefix(msg.Subject, FailedSubjects) {
			if letter, err := DecodeLive[DeadLetter](msg); err == nil {
				return &FailedError{letter}
			}
		} else if links, err := DecodeLive[Links](msg); err == nil {
			found = links
			return errDone
		}
		return nil
	})
	if errors.Is(err, errDone) {
		return found, nil
	}
	return Stored[Links]{}, fmt.Errorf("waiting for the links of %q: %w", clip(conversation.InteractionID), err)
}

// outcome reads the links of a conversation and returns errDone, or a [*FailedError] for
// its dead letter. It returns nil if there is neither, and errAgain if the broker does not
// answer.
func (s *Subscriber) outcome(ctx context.Context, conversation Conversation) (Stored[Links], error) {
	// An answer may be lost with the connection.
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	links, err := s.Links(ctx, conversation)
	if err == nil {
		return links, errDone
	}
	if errors.Is(err, ErrNotFound) && !s.noDeadLetters.Load() {
		var letter Stored[DeadLetter]
		if letter, err = s.DeadLetter(ctx, conversation); err == nil {
			return links, &FailedError{letter}
		}
		if errors.Is(err, ErrPermission) {
			s.noDeadLetters.Store(true)
			return links, nil
		}
	}
	switch {
	case errors.Is(err, ErrPermission):
		return links, err
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrInvalid): // another message may replace an unreadable one
		return links, nil
	}
	return links, errAgain
}

// listen calls fn with the messages on subjects until the context ends or fn or catchUp
// returns an error. It calls catchUp when there may be messages that it misses.
func (s *Subscriber) listen(
	ctx context.Context, subjects []string, catchUp func(context.Context) error, fn func(*nats.Msg) error,
) error {
	nc := s.js.Conn()
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	unread := make(chan *nats.Msg, maxUnread)
	for _, subject := range subjects {
		subscription, err := nc.ChanSubscribe(subject, unread)
		if err != nil {
			return err
		}
		defer func() { _ = subscription.Unsubscribe() }() // fails only on a closed connection
	}
	missed := time.After(0)
	dropped := map[*nats.Subscription]int{}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case status := <-changed:
			if status == nats.CLOSED {
				return nats.ErrConnectionClosed
			}
			missed = time.After(0)
		case <-missed:
			missed = nil
			err := s.caughtUp(ctx, catchUp)
			if errors.Is(err, errAgain) {
				missed = time.After(retryDelay)
			} else if err != nil {
				return because(ctx, err)
			}
		case msg := <-unread:
			if err := fn(msg); err != nil {
				return err
			}
			// The client drops a message only while others wait, so this sees every gap.
			if count, err := msg.Sub.Dropped(); err == nil && count != dropped[msg.Sub] {
				dropped[msg.Sub], missed = count, time.After(0)
			}
		}
	}
}

// caughtUp calls catchUp once the broker has the subscriptions.
func (s *Subscriber) caughtUp(ctx context.Context, catchUp func(context.Context) error) error {
	flushing, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if s.js.Conn().FlushWithContext(flushing) != nil {
		return errAgain
	}
	if catchUp == nil {
		return nil
	}
	return catchUp(ctx)
}
