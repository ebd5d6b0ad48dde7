package webhook

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"roomlink/internal/accounts"
	"roomlink/internal/web"
	"roomlink/messages"
)

// notice is what a body of Talkdesk's says.
type notice struct {
	// source is one of the Source constants of messages: which shape it had.
	source        string
	channel       string
	start         bool
	interactionID string
	customerID    string
	startedAt     time.Time
	options       messages.RoomOptions
}

// started is the message that a start becomes.
func (n notice) started(account string, now time.Time) messages.Started {
	customer := n.customerID
	if customer == "" {
		customer = n.interactionID
	}
	return messages.Started{
		Request: messages.Request{
			Conversation: messages.Conversation{Account: account, InteractionID: n.interactionID},
			CustomerID:   customer,
			RoomOptions:  n.options,
		},
		Channel:    n.channel,
		Source:     n.source,
		StartedAt:  messages.At(n.startedAt),
		ReceivedAt: messages.At(now),
	}
}

// decode reads a body of Talkdesk's in one of its three shapes, which its fields
// tell apart: Digital Connect has event_type, an Execute Action has interactionId
// or applicationId, and an Automation has event. It returns a [*web.Error], 400.
func decode(body []byte, account accounts.Account) (notice, error) {
	return readFields(body, func(fields fields) (notice, error) { return decodeShape(body, fields, account) })
}

func decodeShape(body []byte, fields fields, account accounts.Account) (n notice, err error) {
	switch {
	case fields.has("event_type"):
		n, err = decodeDigitalConnect(fields, account)
	case fields.has("interactionId"), fields.has("applicationId"):
		n, err = decodeAction(body, fields, account)
	case fields.has("event"):
		n, err = decodeAutomation(fields, account)
	default:
		return notice{}, web.BadRequest("unknown_shape", "this is none of the events that are known: "+
			"want event and interaction_id (Automations), event_type and conversation_id (Digital Connect), "+
			"or applicationId, cdestination, customerId and interactionId (an action)")
	}
	if err != nil || !n.start {
		return n, err
	}
	return n, checkInteraction(n)
}

// checkInteraction wants an id that names one conversation.
func checkInteraction(n notice) error {
	if err := messages.ValidateInteractionID(n.interactionID); err != nil {
		return web.BadRequest("bad_interaction_id", "%v", err)
	}
	return nil
}

// decodeAutomation reads the flat body of an Automation, whose values are all
// strings (Talkdesk, Webhook Trigger).
func decodeAutomation(fields fields, account accounts.Account) (notice, error) {
	n := notice{source: messages.SourceAutomation, channel: messages.ChannelVoice}
	name, err := fields.text("event", true)
	if err != nil {
		return n, err
	}
	n.start = starts(account, name)
	if n.interactionID, err = fields.text("interaction_id", n.start); err != nil {
		return n, err
	}
	n.customerID, err = fields.text("contact_id", false)
	if err == nil && n.start {
		err = checkCustomer(&n)
	}
	return n, err
}

// checkCustomer takes a contact's id under the rules of an interaction's; an
// unresolved template is no id, and left out.
func checkCustomer(n *notice) error {
	if strings.Contains(n.customerID, "{{") || n.customerID == "" {
		n.customerID = ""
		return nil
	}
	if err := messages.ValidateInteractionID(n.customerID); err != nil {
		reason := strings.ReplaceAll(err.Error(), "interaction id", "customer's id")
		return web.BadRequest("bad_customer_id", "%s", reason)
	}
	return nil
}

// decodeDigitalConnect reads an event of Digital Connect. Its event_type is
// published in upper case and documented in lower case.
func decodeDigitalConnect(fields fields, account accounts.Account) (notice, error) {
	n := notice{source: messages.SourceDigitalConnect, channel: messages.ChannelDigital}
	name, err := fields.text("event_type", true)
	if err != nil {
		return n, err
	}
	n.start = starts(account, name)
	if n.interactionID, err = fields.text("conversation_id", n.start); err != nil {
		return n, err
	}
	if _, err = fields.text("timestamp", false); err != nil {
		return n, err
	}
	var at messages.Time
	if at.UnmarshalJSON(fields.value("timestamp")) == nil { // only ever shown
		n.startedAt = at.Time
	}
	return n, nil
}

// starts reports whether the name of an event counts as a start.
func starts(a accounts.Account, name string) bool {
	if len(a.Talkdesk.StartEvents) == 0 {
		return strings.Contains(strings.ToLower(name), "start")
	}
	return slices.ContainsFunc(a.Talkdesk.StartEvents, func(start string) bool { return strings.EqualFold(start, name) })
}

// fields are the members of a JSON object, not yet read, in the order in which they
// came. They lie in the body.
type fields []field

type field struct {
	name  []byte
	value jsontext.Value
}

// fewFields is up to how many it takes no index to find one.
const fewFields = 64

// asSent reads JSON as whoever sent it may have meant it: what is nested is not
// looked into, and [fields.text] tells of text that was lost.
var asSent = []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// readFields reads an object once, and has its members decoded, which are lost after
// that. Two of one name are refused, since every reader may see another one of them
// (RFC 8259, section 4).
func readFields(body []byte, decode func(fields) (notice, error)) (notice, error) {
	if !utf8.Valid(body) {
		return notice{}, web.BadRequest("not_utf8", "the body is not valid UTF-8")
	}
	if len(bytes.Trim(body, " \t\r\n")) == 0 {
		return notice{}, web.BadRequest("empty_body", "the body is empty")
	}
	m, _ := readers.Get().(*members)
	defer m.recycle()
	m.body = body
	if err := json.Unmarshal(body, m, asSent...); err != nil {
		return notice{}, jsonError(err)
	}
	return decode(m.fields)
}

// readers are what bodies are read with.
var readers = sync.Pool{New: func() any { return new(members) }}

// recycle makes it ready for another body.
func (m *members) recycle() {
	if cap(m.fields) > 2*fewFields {
		return // not worth its room
	}
	clear(m.fields)
	m.body, m.fields, m.names = nil, m.fields[:0], nil
	readers.Put(m)
}

// members reads the members of the object that a body is.
type members struct {
	body   []byte
	fields fields
	// names are those of all fields, once they are many.
	names map[string]struct{}
}

var _ json.UnmarshalerFrom = (*members)(nil)

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (m *members) UnmarshalJSONFrom(decoder *jsontext.Decoder) error {
	opening, err := decoder.ReadToken()
	if err != nil {
		return err
	}
	if opening.Kind() != jsontext.KindBeginObject {
		return web.BadRequest("not_an_object", "the body is not a JSON object")
	}
	for decoder.PeekKind() != jsontext.KindEndObject {
		quoted, err := m.read(decoder)
		if err != nil {
			return err
		}
		value, err := m.read(decoder)
		if err != nil {
			return err
		}
		name := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			name, _ = jsontext.AppendUnquote(nil, quoted)
		}
		if m.has(name) {
			return web.BadRequest("duplicate_field", "the field %q is there twice", clip(string(name)))
		}
		m.fields = append(m.fields, field{name, value})
	}
	_, err = decoder.ReadToken()
	return err
}

// read returns what the decoder reads next, as it lies in the body: the decoder's own
// is lost with the one after.
func (m *members) read(decoder *jsontext.Decoder) (jsontext.Value, error) {
	value, err := decoder.ReadValue()
	end := int(decoder.InputOffset())
	return m.body[end-len(value) : end], err
}

// has reports whether a name was there already, and takes it for one that is.
func (m *members) has(name []byte) bool {
	if len(m.fields) < fewFields {
		return slices.ContainsFunc(m.fields, func(f field) bool { return bytes.Equal(f.name, name) })
	}
	if m.names == nil {
		m.names = map[string]struct{}{}
		for _, f := range m.fields {
			m.names[string(f.name)] = struct{}{}
		}
	}
	before := len(m.names)
	m.names[string(name)] = struct{}{}
	return len(m.names) == before
}

// jsonError says how a body is answered that could not be read.
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

// value is that of a member; nil if there is none.
func (f fields) value(name string) jsontext.Value {
	for _, field := range f {
		if string(field.name) == name {
			return field.value
		}
	}
	return nil
}

func (f fields) has(name string) bool { return f.value(name) != nil }

// text reads a string. A missing or null one is "", and an error if it is
// required.
func (f fields) text(name string, required bool) (string, error) {
	raw := f.value(name)
	if raw == nil || raw.Kind() == jsontext.KindNull {
		if required {
			return "", web.BadRequest("missing_field", "the field %s is missing", name)
		}
		return "", nil
	}
	if raw.Kind() != jsontext.KindString {
		return "", web.BadRequest("wrong_type", "the field %s is not a string", name)
	}
	var room [128]byte
	unquoted, _ := jsontext.AppendUnquote(room[:0], raw) // half a surrogate pair is an error too
	text := string(unquoted)
	// Half a surrogate pair is read as the replacement character, and so would make
	// two ids one.
	if strings.ContainsRune(text, utf8.RuneError) {
		return "", web.BadRequest("not_unicode", "the field %s has a character that was lost on its way", name)
	}
	if text == "" && required {
		return "", web.BadRequest("missing_field", "the field %s is empty", name)
	}
	return text, nil
}

// withScheme gives a bare host its scheme, as auvious' own example has it
// without one.
func withScheme(urlBase string) (string, error) {
	if urlBase == "" {
		return "", nil
	}
	if !strings.Contains(urlBase, "://") {
		urlBase = "https://" + urlBase
	}
	parsed, err := url.Parse(urlBase)
	if err != nil || parsed.Hostname() == "" || parsed.User != nil ||
		parsed.Scheme != "https" && parsed.Scheme != "http" {
		return "", errors.New("is neither a host nor an absolute http or https URL")
	}
	return urlBase, nil
}

// clip shortens foreign text for an error.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
