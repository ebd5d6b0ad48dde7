package webhook

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"roomlink/internal/accounts"
	"roomlink/internal/interaction"
	"roomlink/internal/web"
	"roomlink/messages"
)

// talkdeskEvent is a decoded body of a request.
type talkdeskEvent struct {
	// source is one of the Source constants of messages. It tells the shape of the body.
	source        string
	channel       string
	start         bool
	interactionID string
	customerID    string
	startedAt     time.Time
	options       messages.RoomOptions
}

// started returns the event of a start.
func (e *talkdeskEvent) started(account string, now time.Time) messages.Event[messages.Started] {
	return messages.NewEvent(messages.At(now), messages.Started{
		Request: messages.Request{
			Conversation: messages.Conversation{Account: account, InteractionID: e.interactionID},
			CustomerID:   cmp.Or(e.customerID, e.interactionID),
			RoomOptions:  e.options,
		},
		Channel: e.channel, Source: e.source, StartedAt: messages.At(e.startedAt), ReceivedAt: messages.At(now),
	})
}

// decodeEvent decodes a body of one of three shapes, and tells them apart by their fields:
// Digital Connect has event_type, an action has interactionId or applicationId, and an
// Automation has event. Its errors are [*web.Error]s with status 400.
func decodeEvent(body []byte, account accounts.Account) (event talkdeskEvent, err error) {
	fields, err := readFields(body)
	if err != nil {
		return event, err
	}
	switch {
	case fields.has("event_type"):
		event, err = decodeDigitalConnect(fields, account)
	case fields.has("interactionId"), fields.has("applicationId"):
		event, err = decodeAction(body, fields, account)
	case fields.has("event"):
		event, err = decodeAutomation(fields, account)
	default:
		err = web.BadRequest("unknown_shape", "the event is unknown: "+
			"want event and interaction_id (Automations), event_type and conversation_id (Digital Connect), "+
			"or applicationId, cdestination, customerId and interactionId (an action)")
	}
	if err == nil && event.start {
		err = event.checkIDs()
	}
	return event, err
}

// decodeActionBody decodes a body that has to be the request of an action. Its errors are
// those of [decodeEvent].
func decodeActionBody(body []byte, account accounts.Account) (talkdeskEvent, error) {
	fields, err := readFields(body)
	if err != nil {
		return talkdeskEvent{}, err
	}
	event, err := decodeAction(body, fields, account)
	if err == nil {
		err = event.checkIDs()
	}
	return event, err
}

// checkIDs checks the ids of a start. It drops a customer id that is no id: an event needs
// no customer.
func (e *talkdeskEvent) checkIDs() (err error) {
	e.customerID = interaction.Contact(e.customerID)
	if e.interactionID, err = interaction.ID(e.interactionID); err != nil {
		return web.BadRequest("bad_interaction_id", "%v", err)
	}
	return nil
}

// checkName refuses a name that is a placeholder: the event may be a start. The error of a bad
// interaction id comes first.
func (e *talkdeskEvent) checkName(name string) error {
	if e.start || !interaction.Unfilled(name) {
		return nil
	}
	if err := e.checkIDs(); err != nil {
		return err
	}
	return web.BadRequest("bad_event_name", "the name of the event %q is a placeholder: "+
		"replace it by the variable with the event's name, or by the text inbound_call_starts", clip(name))
}

// decodeAutomation decodes the body of an Automation, a flat object of strings (Talkdesk,
// Webhook Trigger).
func decodeAutomation(fields fields, account accounts.Account) (talkdeskEvent, error) {
	event := talkdeskEvent{source: messages.SourceAutomation, channel: messages.ChannelVoice}
	name, err := fields.text("event", true)
	if err != nil {
		return event, err
	}
	event.start = starts(account, name)
	if event.interactionID, err = fields.text("interaction_id", event.start); err != nil {
		return event, err
	}
	if event.customerID, err = fields.text("contact_id", false); err != nil {
		return event, err
	}
	return event, event.checkName(name)
}

// decodeDigitalConnect decodes an event of Digital Connect.
func decodeDigitalConnect(fields fields, account accounts.Account) (talkdeskEvent, error) {
	event := talkdeskEvent{source: messages.SourceDigitalConnect, channel: messages.ChannelDigital}
	name, err := fields.text("event_type", true)
	if err != nil {
		return event, err
	}
	event.start = starts(account, name)
	if event.interactionID, err = fields.text("conversation_id", event.start); err != nil {
		return event, err
	}
	if _, err = fields.text("timestamp", false); err != nil {
		return event, err
	}
	var at messages.Time
	if at.UnmarshalJSON(fields["timestamp"]) == nil { // another form is no reason to refuse a start
		event.startedAt = at.Time
	}
	return event, event.checkName(name)
}

// starts reports whether an event of this name is a start. Talkdesk documents names in
// lower case and sends some in upper case.
func starts(a accounts.Account, name string) bool {
	if len(a.Talkdesk.StartEvents) == 0 {
		return strings.Contains(strings.ToLower(name), "start") && !interaction.Unfilled(name)
	}
	return slices.ContainsFunc(a.Talkdesk.StartEvents, func(start string) bool { return strings.EqualFold(start, name) })
}

// fields are the members of a JSON object by name.
type fields map[string]jsontext.Value

var _ json.UnmarshalerFrom = (*fields)(nil)

// readFields reads the members of the object in a body. It does not look into nested
// values: nobody reads them.
func readFields(body []byte) (fields, error) {
	if !utf8.Valid(body) {
		return nil, web.BadRequest("not_utf8", "the body is not valid UTF-8")
	}
	if len(bytes.Trim(body, " \t\r\n")) == 0 {
		return nil, web.BadRequest("empty_body", "the body is empty")
	}
	var members fields
	// fields.text refuses text that the decoder had to replace.
	err := json.Unmarshal(body, &members, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, jsonError(err)
	}
	return members, nil
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom]. It refuses two members of one name:
// readers differ on which one counts (RFC 8259, section 4).
func (f *fields) UnmarshalJSONFrom(decoder *jsontext.Decoder) error {
	if opening, err := decoder.ReadToken(); err != nil {
		return err
	} else if opening.Kind() != jsontext.KindBeginObject {
		return web.BadRequest("not_an_object", "the body is not a JSON object")
	}
	*f = fields{}
	for decoder.PeekKind() != jsontext.KindEndObject {
		token, err := decoder.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		value, err := decoder.ReadValue()
		if err != nil {
			return err
		}
		if f.has(name) {
			return web.BadRequest("duplicate_field", "the field %q occurs twice", clip(name))
		}
		(*f)[name] = value.Clone()
	}
	_, err := decoder.ReadToken()
	return err
}

// jsonError returns the answer to a body that is not JSON.
func jsonError(err error) error {
	var refusal *web.Error
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, io.ErrUnexpectedEOF):
		return web.BadRequest("bad_json", "the JSON ends too early")
	case errors.As(err, &syntax):
		return web.BadRequest("bad_json", "the body is not JSON: %v at byte %d", syntax.Err, syntax.ByteOffset)
	}
	return web.BadRequest("bad_json", "the body is not JSON")
}

func (f *fields) has(name string) bool {
	_, ok := (*f)[name]
	return ok
}

// text reads a string. It returns "" for a missing or null field, and an error if the
// field is required.
func (f *fields) text(name string, required bool) (string, error) {
	raw := (*f)[name]
	if raw == nil || raw.Kind() == jsontext.KindNull {
		if required {
			return "", web.BadRequest("missing_field", "the field %s is missing", name)
		}
		return "", nil
	}
	if raw.Kind() != jsontext.KindString {
		return "", web.BadRequest("wrong_type", "the field %s is not a string", name)
	}
	// The decoder replaces half a surrogate pair, which would make two ids one.
	unquoted, _ := jsontext.AppendUnquote(nil, raw)
	text := string(unquoted)
	if strings.ContainsRune(text, utf8.RuneError) {
		return "", web.BadRequest("not_unicode", "the field %s has a damaged character", name)
	}
	if text == "" && required {
		return "", web.BadRequest("missing_field", "the field %s is empty", name)
	}
	return text, nil
}
