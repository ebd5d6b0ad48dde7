package messages

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Stored is a message together with its place in the stream.
type Stored[T Data] struct {
	Event[T]

	Subject string
	// Sequence is the sequence number in the stream.
	Sequence uint64
	// StoredAt is the stream's own timestamp.
	StoredAt time.Time
}

// DecodeStored decodes a message from a stream. For a message that breaks the contract
// it returns an error that wraps [ErrInvalid], and the place of the message.
func DecodeStored[T Data](m jetstream.RawStreamMsg) (Stored[T], error) {
	e, err := Decode[T](m.Data)
	if err != nil {
		err = fmt.Errorf("message %d on %q: %w", m.Sequence, m.Subject, err)
	}
	return Stored[T]{Event: e, Subject: m.Subject, Sequence: m.Sequence, StoredAt: m.Time}, err
}

// DecodeDelivered decodes a message that a consumer delivered. Its errors are those of
// [DecodeStored].
func DecodeDelivered[T Data](msg jetstream.Msg) (Stored[T], error) {
	meta, err := msg.Metadata()
	if err != nil {
		return Stored[T]{}, fmt.Errorf("%w: no consumer delivered the message", ErrInvalid)
	}
	return DecodeStored[T](jetstream.RawStreamMsg{
		Subject: msg.Subject(), Sequence: meta.Sequence.Stream, Data: msg.Data(), Time: meta.Timestamp,
	})
}
