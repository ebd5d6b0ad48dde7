package store

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"
)

// noStream is the name of no stream. The broker refuses a message that expects it.
const noStream = "ROOMLINK_NONE"

// errCodeOtherStream is the code of the broker's "expected stream does not match".
const errCodeOtherStream jetstream.ErrorCode = 10060

// MayPublish returns nil if the user of a connection may publish to a subject, and an error that
// wraps [ErrNotPermitted] if not. It stores nothing. Other errors are the broker's.
func MayPublish(ctx context.Context, js jetstream.JetStream, subject string) error {
	return unlessRefused(ctx, js.Conn(), func(ctx context.Context) error {
		_, err := js.Publish(ctx, subject, nil, jetstream.WithExpectStream(noStream))
		refusal, ok := errors.AsType[*jetstream.APIError](err)
		if ok && refusal.ErrorCode == errCodeOtherStream || errors.Is(err, jetstream.ErrNoStreamResponse) {
			return nil // the message reached the stream, or there is none
		}
		return err
	})
}
