package messages

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// ContentType is the header Content-Type of every message: CloudEvents'
// structured JSON mode.
const ContentType = "application/cloudevents+json"

// TraceParentHeader is the NATS header of the W3C trace context. It is lower
// case, as NATS headers are case-sensitive.
const TraceParentHeader = "traceparent"

const (
	specVersion  = "1.0"
	sourcePrefix = "roomlink/"
)

// Event is one message: a CloudEvents 1.0 envelope around its data. The
// envelope's type, source and subject follow from the data.
type Event[T Data] struct {
	// ID is the CloudEvents id, unique to this message.
	ID string
	// Time is when the message was made.
	Time Time
	// TraceParent is the W3C trace context; empty without tracing.
	TraceParent string
	Data        T
}

// NewEvent wraps data in an envelope with a new id.
func NewEvent[T Data](at Time, data T) Event[T] {
	return Event[T]{ID: nuid.Next(), Time: at, Data: data}
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

// asItCame has a dead letter hold its event as that came, be it JSON at its best
// or not.
var asItCame = []json.Options{
	jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true), jsontext.PreserveRawStrings(true),
}

// Encode returns the message as JSON. It returns an error that wraps
// [ErrInvalid] for data that [Decode] would not take.
func (e Event[T]) Encode() ([]byte, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	conversation := e.Data.Conversation()
	doc := &envelope[T]{ // by its address, or it would be copied once more
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
	data, err := json.Marshal(doc, asItCame...)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s: %w", doc.Type, err)
	}
	return data, nil
}

var contentType = []string{ContentType}

// Message returns the message for NATS, with its headers, on a subject.
func (e Event[T]) Message(subject string) (*nats.Msg, error) {
	data, err := e.Encode()
	if err != nil {
		return nil, err
	}
	header := nats.Header{"Content-Type": contentType}
	if e.TraceParent != "" {
		header[TraceParentHeader] = []string{e.TraceParent}
	}
	return &nats.Msg{Subject: subject, Header: header, Data: data}, nil
}

// Decode reads a message. It returns an error that wraps [ErrInvalid] for what
// is no CloudEvents 1.0 document of T's type, or contradicts itself. Fields that
// it does not know are ignored.
func Decode[T Data](data []byte) (Event[T], error) {
	var doc envelope[T]
	if err := json.Unmarshal(data, &doc, asItCame...); err != nil {
		// The decoder's own error may quote the message, and so a ticket.
		return Event[T]{}, fmt.Errorf("%w: not the JSON of a %s", ErrInvalid, doc.Data.eventType())
	}
	e := Event[T]{ID: doc.ID, Time: doc.Time, TraceParent: doc.TraceParent, Data: doc.Data}
	conversation := e.Data.Conversation()
	switch {
	case doc.SpecVersion != specVersion:
		return Event[T]{}, fmt.Errorf("%w: specversion %q: want %q", ErrInvalid, clip(doc.SpecVersion), specVersion)
	case doc.Type != e.Data.eventType():
		return Event[T]{}, fmt.Errorf("%w: type %q: want %q", ErrInvalid, clip(doc.Type), e.Data.eventType())
	case doc.Source != sourcePrefix+conversation.Account:
		return Event[T]{}, fmt.Errorf("%w: source %q is not of account %q",
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
	if err := e.Data.Conversation().Validate(); err != nil {
		return err
	}
	return e.Data.validate()
}
