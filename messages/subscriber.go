package messages

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// requestTimeout bounds a request if the context has no deadline.
const requestTimeout = 5 * time.Second

// Subscriber reads the links of an account, and its dead letters if the broker permits
// it. It needs only the permissions of a subscriber's NATS user: it creates no consumer.
// Many goroutines may use a subscriber at once.
type Subscriber struct {
	js       jetstream.JetStream
	refusals *refusals
	// noDeadLetters is true once the broker has refused to read dead letters.
	noDeadLetters atomic.Bool
}

// NewSubscriber returns a subscriber on a connection. The connection stays the caller's.
// NewSubscriber puts an error handler before the one of the connection, to learn at once
// what the broker refuses. So make one subscriber for a connection, and set an error
// handler of your own before.
func NewSubscriber(js jetstream.JetStream) *Subscriber {
	return &Subscriber{js: js, refusals: watchRefusals(js.Conn())}
}

// Links returns the latest links of a conversation. Any replica answers, so the links
// may be stale. Links returns an error that wraps [ErrNotFound] if there are none yet,
// [ErrPermission] if the broker does not permit it, and [ErrInvalid] for an impossible
// conversation or a message that breaks the contract. Other errors are the broker's or
// the context's. If the context has no deadline, Links takes at most 5 s.
func (s *Subscriber) Links(ctx context.Context, conversation Conversation) (Stored[Links], error) {
	return last[Links](ctx, s, LinksStream, conversation, conversation.LinksSubject())
}

// DeadLetter returns the dead letter of a conversation. Its errors are those of
// [Subscriber.Links].
func (s *Subscriber) DeadLetter(ctx context.Context, conversation Conversation) (Stored[DeadLetter], error) {
	return last[DeadLetter](ctx, s, DeadLettersStream, conversation, conversation.DeadLetterSubject())
}

func last[T Data](
	ctx context.Context, s *Subscriber, stream string, conversation Conversation, subject string,
) (Stored[T], error) {
	if err := conversation.Validate(); err != nil {
		return Stored[T]{}, err
	}
	ctx, stop := s.refusals.guard(ctx, subject)
	defer stop()
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	m, err := GetDirect(ctx, s.js, stream, subject)
	if err != nil {
		return Stored[T]{}, fmt.Errorf("reading stream %q: %w", stream, because(ctx, err))
	}
	return DecodeStored[T](m)
}

// FailedError reports that a conversation has no links but a dead letter.
type FailedError struct{ DeadLetter Stored[DeadLetter] }

// Error returns the reason of the dead letter. It contains no secret.
func (e *FailedError) Error() string {
	letter := e.DeadLetter.Data
	return fmt.Sprintf("conversation %q got no links: %s: %s", clip(letter.InteractionID), letter.Reason, letter.Detail)
}
