package messages

import (
	"crypto/rand"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
)

// ContentType is the Content-Type header of every message: CloudEvents' structured
// JSON mode.
const ContentType = "application/cloudevents+json"

// TraceParentHeader is the NATS header of the W3C trace context. It is lower case,
// because NATS headers are case-sensitive.
const TraceParentHeader = "traceparent"

const (
	specVersion  = "1.0"
	sourcePrefix = "roomlink/"
)

// Event is one message: a CloudEvents 1.0 envelope around its data. The data
// determines the envelope's type, source and subject.
type Event[T Data] struct {
	// ID is the CloudEvents id. It is unique to this message.
	ID string
	// Time is the time at which the message was made.
	Time Time
	// TraceParent is the W3C trace context; empty without tracing.
	TraceParent string
	Data        T
}

// NewEvent puts data into an envelope with a new id.
func NewEvent[T Data](at Time, data T) Event[T] {
	return Event[T]{ID: rand.Text(), Time: at, Data: data}
}

// envelope is the document on the wire.
type envelope[T any] struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"`
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject"`
	Time            Time   `json:"time"`
	DataContentType string `json:"datacontenttype"`
	TraceParent     string `json:"traceparent,omitempty"`
	Data            T      `json:"data"`
}

// preserve keeps the original event of a dead letter byte for byte.
var preserve = []json.Options{
	jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true), jsontext.PreserveRawStrings(true),
}

// Encode returns the message as JSON. It returns an error that wraps [ErrInvalid] for
// data that [Decode] would refuse.
func (e Event[T]) Encode() ([]byte, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	conversation := e.Data.conversation()
	doc := &envelope[T]{ // a pointer saves one copy
		SpecVersion:     specVersion,
		ID:              e.ID,
		Source:          sourcePrefix + conversation.Account,
		Type:            e.Data.eventType(),
		Subject:         conversation.InteractionID,
		Time:            e.Time,
		DataContentType: "application/json",
		TraceParent:     e.TraceParent,
		Data:            e.Data,
	}
	data, err := json.Marshal(doc, preserve...)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s: %w", doc.Type, err)
	}
	return data, nil
}

// Message returns the message for a NATS subject, with its headers. Its errors are those
// of [Event.Encode].
func (e Event[T]) Message(subject string) (*nats.Msg, error) {
	data, err := e.Encode()
	if err != nil {
		return nil, err
	}
	header := nats.Header{"Content-Type": {ContentType}}
	if e.TraceParent != "" {
		header[TraceParentHeader] = []string{e.TraceParent}
	}
	return &nats.Msg{Subject: subject, Header: header, Data: data}, nil
}

// Decode reads a message. It ignores fields that it does not know. It returns an
// error that wraps [ErrInvalid] unless the message is a consistent CloudEvents 1.0
// document of T's type.
func Decode[T Data](data []byte) (Event[T], error) {
	var doc envelope[T]
	if err := json.Unmarshal(data, &doc, preserve...); err != nil {
		// The decoder's own error may quote the message, and so a ticket.
		return Event[T]{}, fmt.Errorf("%w: not the JSON of a %s", ErrInvalid, doc.Data.eventType())
	}
	e := Event[T]{ID: doc.ID, Time: doc.Time, TraceParent: doc.TraceParent, Data: doc.Data}
	conversation := e.Data.conversation()
	switch {
	case doc.SpecVersion != specVersion:
		return Event[T]{}, fmt.Errorf("%w: specversion %q: want %q", ErrInvalid, clip(doc.SpecVersion), specVersion)
	case doc.Type != e.Data.eventType():
		return Event[T]{}, fmt.Errorf("%w: type %q: want %q", ErrInvalid, clip(doc.Type), e.Data.eventType())
	case doc.Source != sourcePrefix+conversation.Account:
		return Event[T]{}, fmt.Errorf("%w: source %q does not match account %q",
			ErrInvalid, clip(doc.Source), clip(conversation.Account))
	case doc.Subject != conversation.InteractionID:
		return Event[T]{}, fmt.Errorf("%w: subject %q is not the interaction id", ErrInvalid, clip(doc.Subject))
	}
	if err := e.validate(); err != nil {
		return Event[T]{}, err
	}
	return e, nil
}

func (e Event[T]) validate() error {
	switch {
	case e.ID == "":
		return fmt.Errorf("%w: id is empty", ErrInvalid)
	case e.Time.IsZero():
		return fmt.Errorf("%w: time is empty", ErrInvalid)
	}
	if err := e.Data.conversation().Validate(); err != nil {
		return err
	}
	return e.Data.validate()
}
