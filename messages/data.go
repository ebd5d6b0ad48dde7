package messages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The values of "type" in the CloudEvents of the three messages.
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

// The sources of an event: who asked for the room.
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
	// ReasonRejected: auvious refused the request. A retry would not help.
	ReasonRejected = "rejected"
	// ReasonBadAnswer: auvious reported success without usable links.
	ReasonBadAnswer = "bad_answer"
	// ReasonUnknownOutcome: too many calls broke off after roomlink had sent them.
	ReasonUnknownOutcome = "unknown_outcome"
	// ReasonExpired: the give-up time passed.
	ReasonExpired = "expired"
	// ReasonBadEvent: the event itself breaks the contract.
	ReasonBadEvent = "bad_event"
	// ReasonUnreadable: the store of the broker was damaged, and the event with it. The
	// dead letter's event, interaction id and times are what could still be read.
	ReasonUnreadable = "unreadable"
)

// Reasons returns all reasons of dead letters.
func Reasons() []string {
	return []string{ReasonRejected, ReasonBadAnswer, ReasonUnknownOutcome, ReasonExpired, ReasonBadEvent, ReasonUnreadable}
}

// MaxTicketExpirationSeconds bounds the lifetime of a ticket that a caller asks for, in
// seconds. More than ten years are a mistake.
const MaxTicketExpirationSeconds = 10 * 365 * 24 * 60 * 60

// maxCount bounds a generation and the replays of an event.
const maxCount = 1_000_000_000

// Request is the part of an event that its links and its renewals repeat: the
// conversation, the customer, and the caller's own options.
type Request struct {
	Conversation

	// CustomerID is the contact's id, or the interaction id if there is no contact.
	CustomerID string `json:"customerId"`
	RoomOptions
}

// RoomOptions are the caller's own fields of an Execute Action. The account's
// configuration fills the absent ones.
type RoomOptions struct {
	ApplicationID  string `json:"applicationId,omitempty"`
	Destination    string `json:"cdestination,omitempty"`
	OrganizationID string `json:"organizationId,omitempty"`
	// TicketExpirationSeconds is nil if the caller gave none. An explicit 0 goes to
	// auvious, because only auvious knows its meaning. The maximum is
	// [MaxTicketExpirationSeconds].
	TicketExpirationSeconds *int64 `json:"ticketExpirationSeconds,omitempty"`
	URLBase                 string `json:"urlBase,omitempty"`
}

// Started asks for the room of a conversation: Talkdesk reported its start, or somebody
// asked for new links.
type Started struct {
	Request

	// Channel is one of the Channel constants.
	Channel string `json:"channel"`
	// Source is one of the Source constants.
	Source string `json:"source"`
	// StartedAt is the start according to Talkdesk; zero if Talkdesk gave none.
	StartedAt  Time `json:"startedAt,omitzero"`
	ReceivedAt Time `json:"receivedAt"`
	// Renews is the generation of links that this event replaces; 0 for none.
	Renews int `json:"renews,omitzero"`
	// Replays counts the replays of the event from its dead letter.
	Replays int `json:"replays,omitzero"`
}

// Generation returns the generation of links that the event asks for.
func (s Started) Generation() int { return s.Renews + 1 }

// Links are the links of a conversation, as auvious made them. Revoked links have no URLs.
type Links struct {
	Request

	// AgentURL is for the agent, who is signed in to auvious.
	AgentURL string `json:"agentUrl"`
	// RecordingURL leads to the recording; empty if there is none.
	RecordingURL string `json:"recordingUrl"`
	// TicketURL admits its holder to the call.
	TicketURL Secret `json:"ticketUrl"`
	CreatedAt Time   `json:"createdAt"`
	// ExpiresAt is the end of the ticket; zero, and "" in JSON, if unknown.
	ExpiresAt Time `json:"expiresAt"`
	// Generation is 1 for the first links. Each renewal adds 1.
	Generation int `json:"generation"`
	// RevokedAt is when an operator revoked the links; zero if nobody did.
	RevokedAt Time `json:"revokedAt,omitzero"`
}

// Revoked reports whether an operator revoked the links.
func (l Links) Revoked() bool { return !l.RevokedAt.IsZero() }

// Replaces reports whether a subscriber that knows other links of the conversation should
// keep these instead: they are of a later generation, or revoke the same one.
func (l Links) Replaces(known Links) bool {
	return l.Generation > known.Generation || l.Generation == known.Generation && l.Revoked() && !known.Revoked()
}

// Revoke returns the links as revoked at a time, without their URLs.
func (l Links) Revoke(at Time) Links {
	l.AgentURL, l.RecordingURL, l.TicketURL, l.RevokedAt = "", "", "", at
	return l
}

// Expired reports whether the ticket has ended at the time now.
func (l Links) Expired(now time.Time) bool {
	return !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt.Time)
}

// DeadLetter is an event that got no links, and the reason.
type DeadLetter struct {
	Conversation

	// Reason is one of the Reason constants.
	Reason string `json:"reason"`
	// Detail is a sentence for the operator. It contains no secret.
	Detail string `json:"detail"`
	// HTTPStatus is the last status from auvious; 0 if there was no answer.
	HTTPStatus int `json:"httpStatus,omitzero"`
	// Attempts is the number of deliveries that the broker counted.
	Attempts int `json:"attempts"`
	// AcceptedAt is the time at which the broker stored the event.
	AcceptedAt    Time `json:"acceptedAt"`
	LastAttemptAt Time `json:"lastAttemptAt"`
	// Event is the original message, or a JSON string of it if it is no JSON object.
	Event json.RawMessage `json:"event"`
}

// Started decodes the event of the dead letter. Its errors are those of [Decode].
func (d DeadLetter) Started() (Event[Started], error) { return Decode[Started](d.Event) }

// Data is the content of a message: one of the three types.
type Data interface {
	Started | Links | DeadLetter

	conversation() Conversation
	eventType() string
	validate() error
}

func (Started) eventType() string    { return TypeStarted }
func (Links) eventType() string      { return TypeLinks }
func (DeadLetter) eventType() string { return TypeDeadLetter }

func (s Started) validate() error {
	switch {
	case s.CustomerID == "":
		return fmt.Errorf("%w: customerId is empty", ErrInvalid)
	case s.Renews < 0 || s.Renews >= maxCount || s.Replays < 0 || s.Replays >= maxCount:
		return fmt.Errorf("%w: renews and replays must be numbers from 0 to %d", ErrInvalid, maxCount-1)
	case s.TicketExpirationSeconds != nil &&
		(*s.TicketExpirationSeconds < 0 || *s.TicketExpirationSeconds > MaxTicketExpirationSeconds):
		return fmt.Errorf("%w: ticketExpirationSeconds is not between 0 and %d", ErrInvalid, MaxTicketExpirationSeconds)
	}
	return nil
}

func (l Links) validate() error {
	switch {
	case l.Generation < 1 || l.Generation > maxCount:
		return fmt.Errorf("%w: generation %d: want 1 to %d", ErrInvalid, l.Generation, maxCount)
	case l.Revoked() && (l.AgentURL != "" || l.RecordingURL != "" || l.TicketURL != ""):
		return fmt.Errorf("%w: revoked links must have no URLs", ErrInvalid)
	case !l.Revoked() && (l.AgentURL == "" || l.TicketURL == ""):
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

// timeLayout is RFC 3339 in UTC with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Time is a time in UTC. Its JSON is RFC 3339 with milliseconds, or "" for the zero
// time.
type Time struct{ time.Time }

// At returns t in UTC, truncated to the millisecond.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{t.UTC().Truncate(time.Millisecond)}
}

// String returns the text of the JSON string.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

// MarshalJSON implements [json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// UnmarshalJSON implements [json.Unmarshaler]. It returns an error that wraps
// [ErrInvalid] unless the JSON is null, "" or a time in RFC 3339.
func (t *Time) UnmarshalJSON(data []byte) error {
	text, err := jsontext.AppendUnquote(nil, data)
	if err != nil && string(data) != "null" { // null means the zero value, as for the other fields
		return fmt.Errorf("%w: a time is a string", ErrInvalid)
	}
	if len(text) == 0 {
		*t = Time{}
		return nil
	}
	parsed, err := time.Parse(time.RFC3339, string(text))
	// In UTC, the first and the last hours need more than the four digits of RFC 3339.
	if parsed = parsed.UTC(); err != nil || parsed.Year() < 0 || parsed.Year() > 9999 {
		return fmt.Errorf("%w: time %q is not RFC 3339", ErrInvalid, clip(string(text)))
	}
	*t = Time{parsed}
	return nil
}
