package messages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The types of the three messages, as CloudEvents has it in "type".
const (
	TypeStarted    = "roomlink.conversation.started.v1"
	TypeLinks      = "roomlink.links.created.v1"
	TypeDeadLetter = "roomlink.conversation.deadlettered.v1"
)

// The channels of a conversation.
const (
	ChannelVoice   = "voice"
	ChannelDigital = "digital"
	ChannelAction  = "action"
)

// The sources of an event: what asked for the room.
const (
	SourceAutomation     = "automation"
	SourceDigitalConnect = "digital_connect"
	SourceAction         = "action"
	SourceCard           = "card"
	SourceAPI            = "api"
	SourceCLI            = "cli"
)

// The reasons of a dead letter.
const (
	// ReasonRejected: auvious refused the request, and would again.
	ReasonRejected = "rejected"
	// ReasonBadAnswer: auvious said yes without three usable URLs.
	ReasonBadAnswer = "bad_answer"
	// ReasonUnknownOutcome: calls were cut off after they were sent, too often.
	ReasonUnknownOutcome = "unknown_outcome"
	// ReasonExpired: the give-up time passed.
	ReasonExpired = "expired"
	// ReasonBadEvent: the event itself breaks the contract.
	ReasonBadEvent = "bad_event"
)

// RoomOptions are the caller's own fields for the room, from an Execute Action.
// What is absent is the account's configuration.
type RoomOptions struct {
	ApplicationID  string `json:"applicationId,omitempty"`
	Destination    string `json:"cdestination,omitempty"`
	OrganizationID string `json:"organizationId,omitempty"`
	// TicketExpirationSeconds is nil if the caller did not say; an explicit 0 is
	// passed on, since only auvious knows what it means.
	TicketExpirationSeconds *int64 `json:"ticketExpirationSeconds,omitempty"`
	URLBase                 string `json:"urlBase,omitempty"`
}

// Started asks for the room of a conversation: Talkdesk said that it starts, or
// somebody wants its links anew.
type Started struct {
	Account       string `json:"account"`
	InteractionID string `json:"interactionId"`
	// CustomerID is the contact's id if there is one, else the interaction id.
	CustomerID string `json:"customerId"`
	Channel    string `json:"channel"`
	Source     string `json:"source"`
	// StartedAt is when Talkdesk says that it started; zero if it does not say.
	StartedAt  Time `json:"startedAt,omitzero"`
	ReceivedAt Time `json:"receivedAt"`
	// Renews is the generation of links that this event replaces; 0 for the first.
	Renews int `json:"renews,omitzero"`
	// Replays counts how often the event came back from its dead letter.
	Replays int `json:"replays,omitzero"`
	RoomOptions
}

// Generation is the generation of links that the event asks for.
func (s Started) Generation() int { return s.Renews + 1 }

// Links are the links of a conversation, as auvious gave them.
type Links struct {
	Account       string `json:"account"`
	InteractionID string `json:"interactionId"`
	CustomerID    string `json:"customerId"`
	// AgentURL is what the agent opens, signed in to auvious.
	AgentURL string `json:"agentUrl"`
	// RecordingURL holds the recording; empty if there is none.
	RecordingURL string `json:"recordingUrl"`
	// TicketURL lets whoever holds it into the call.
	TicketURL Secret `json:"ticketUrl"`
	CreatedAt Time   `json:"createdAt"`
	// ExpiresAt is when the ticket ends; zero, and "" in JSON, when unknown.
	ExpiresAt Time `json:"expiresAt"`
	// Generation is 1, then one more for each renewal.
	Generation int `json:"generation"`
	RoomOptions
}

// Expired reports whether the ticket has ended at a time.
func (l Links) Expired(now time.Time) bool {
	return !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt.Time)
}

// DeadLetter is an event that got no links, and why.
type DeadLetter struct {
	Account       string `json:"account"`
	InteractionID string `json:"interactionId"`
	// Reason is one of the Reason constants.
	Reason string `json:"reason"`
	// Detail is a sentence for the operator, with secrets masked.
	Detail string `json:"detail"`
	// HTTPStatus is what auvious answered last; 0 if it answered nothing.
	HTTPStatus int `json:"httpStatus,omitzero"`
	// Attempts counts the deliveries of the event, as the broker does.
	Attempts int `json:"attempts"`
	// AcceptedAt is when the event was stored.
	AcceptedAt    Time `json:"acceptedAt"`
	LastAttemptAt Time `json:"lastAttemptAt"`
	// Event is the original message, whole; a JSON string if it was no JSON object.
	Event json.RawMessage `json:"event"`
}

// Started decodes the event that the dead letter holds.
func (d DeadLetter) Started() (Event[Started], error) { return Decode[Started](d.Event) }

// Data is what a message of ours carries.
type Data interface {
	Started | Links | DeadLetter

	// Conversation names what the message is about.
	Conversation() Conversation
	eventType() string
	validate() error
}

// Conversation names what the event is about.
func (s Started) Conversation() Conversation { return Conversation{s.Account, s.InteractionID} }

// Conversation names what the links are for.
func (l Links) Conversation() Conversation { return Conversation{l.Account, l.InteractionID} }

// Conversation names what the dead letter is about.
func (d DeadLetter) Conversation() Conversation { return Conversation{d.Account, d.InteractionID} }

func (Started) eventType() string    { return TypeStarted }
func (Links) eventType() string      { return TypeLinks }
func (DeadLetter) eventType() string { return TypeDeadLetter }

func (s Started) validate() error {
	switch {
	case s.CustomerID == "":
		return fmt.Errorf("%w: customerId is empty", ErrInvalid)
	case s.Renews < 0 || s.Replays < 0:
		return fmt.Errorf("%w: renews and replays are never negative", ErrInvalid)
	}
	return nil
}

func (l Links) validate() error {
	switch {
	case l.Generation < 1:
		return fmt.Errorf("%w: generation %d: the first is 1", ErrInvalid, l.Generation)
	case l.AgentURL == "" || l.TicketURL == "":
		return fmt.Errorf("%w: agentUrl and ticketUrl must not be empty", ErrInvalid)
	}
	return nil
}

func (d DeadLetter) validate() error {
	event := bytes.TrimSpace(d.Event)
	switch {
	case d.Reason == "":
		return fmt.Errorf("%w: reason is empty", ErrInvalid)
	case len(event) == 0 || event[0] != '{' && event[0] != '"':
		return fmt.Errorf("%w: event is neither an object nor a string", ErrInvalid)
	}
	return nil
}

// text reads a JSON string.
func text(data []byte) (string, error) {
	if n := len(data); n >= 2 && data[0] == '"' && !bytes.ContainsRune(data, '\\') {
		return string(data[1 : n-1]), nil
	}
	var s string
	err := json.Unmarshal(data, &s)
	return s, err
}

// Time is a time in JSON as RFC 3339 has it, in UTC; the zero time is "".
type Time struct{ time.Time }

// At makes a Time of t, in UTC and to the millisecond.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{t.UTC().Truncate(time.Millisecond)}
}

// String is the time as in JSON; "" for the zero time.
func (t Time) String() string {
	var room [len("2006-01-02T15:04:05.000Z")]byte
	return string(t.appendText(room[:0]))
}

// appendText appends the time as RFC 3339 with three digits of a second; nothing for
// the zero time.
func (t Time) appendText(text []byte) []byte {
	if t.IsZero() {
		return text
	}
	// A layout that package time formats in a way of its own, five times as fast.
	text = t.UTC().AppendFormat(text, time.RFC3339)
	ms := t.Nanosecond() / int(time.Millisecond)
	return append(text[:len(text)-1], '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// MarshalJSON implements [json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) {
	return append(t.appendText([]byte{'"'}), '"'), nil // no character of it is escaped
}

// MarshalJSONTo is [Time.MarshalJSON] for an encoder that takes it without a copy.
func (t Time) MarshalJSONTo(encoder *jsontext.Encoder) error {
	quoted := append(encoder.AvailableBuffer(), '"')
	return encoder.WriteValue(append(t.appendText(quoted), '"'))
}

// UnmarshalJSON implements [json.Unmarshaler]. It returns an error that wraps
// [ErrInvalid] for what is neither "" nor RFC 3339.
func (t *Time) UnmarshalJSON(data []byte) error {
	s, err := text(data)
	if err != nil {
		return fmt.Errorf("%w: a time is a string", ErrInvalid)
	}
	if s == "" {
		*t = Time{}
		return nil
	}
	parsed, err := time.Parse(time.RFC3339, s)
	// In UTC, the first and the last hours lie beyond RFC 3339's four digits.
	if parsed = parsed.UTC(); err != nil || parsed.Year() < 0 || parsed.Year() > 9999 {
		return fmt.Errorf("%w: time %q is not RFC 3339", ErrInvalid, clip(s))
	}
	*t = Time{parsed}
	return nil
}
