package webhook

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"roomlink/internal/accounts"
	"roomlink/internal/web"
	"roomlink/messages"
)

// roomRequestSchema is the input schema of auvious' action (auvious, "Actions", step 3).
//
//go:embed room-request.schema.json
var roomRequestSchema []byte

const (
	// maxText bounds each text of a request in bytes: an event must fit into a message of
	// the broker, and into a dead letter.
	maxText = 2048
	// maxViolations and maxClip bound what an error repeats of a request, the latter in
	// bytes.
	maxViolations = 8
	maxClip       = 64
)

// compiledSchema returns the compiled [roomRequestSchema].
var compiledSchema = sync.OnceValue(func() *jsonschema.Schema {
	const name = "room-request.schema.json"
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(roomRequestSchema))
	if err != nil {
		panic(err) // the schema is part of the program
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, document); err != nil {
		panic(err)
	}
	return compiler.MustCompile(name)
})

// decodeAction decodes the request of an action, and checks it against its schema.
func decodeAction(body []byte, fields fields, account accounts.Account) (talkdeskEvent, error) {
	event := talkdeskEvent{source: messages.SourceAction, channel: messages.ChannelAction, start: true}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return event, jsonError(err)
	}
	if err := compiledSchema().Validate(document); err != nil {
		return event, web.BadRequest("schema", "%s", violations(err))
	}
	options := &event.options
	for _, text := range []struct {
		name   string
		target *string
	}{
		{"interactionId", &event.interactionID},
		{"customerId", &event.customerID},
		{"applicationId", &options.ApplicationID},
		{"cdestination", &options.Destination},
		{"organizationId", &options.OrganizationID},
		{"urlBase", &options.URLBase},
	} {
		if *text.target, err = fields.text(text.name, false); err != nil {
			return event, err
		}
		if length := len(*text.target); length > maxText && text.target != &event.interactionID && text.target != &event.customerID {
			return event, web.BadRequest("too_long", "the field %s has %d bytes: the maximum is %d", text.name, length, maxText)
		}
	}
	if options.URLBase, err = readURLBase(options.URLBase, account); err != nil {
		return event, web.BadRequest("bad_url_base", "urlBase %v", err)
	}
	if options.TicketExpirationSeconds, err = expiration(fields["ticketExpirationSeconds"]); err != nil {
		return event, web.BadRequest("bad_ticket_expiration", "ticketExpirationSeconds %v", err)
	}
	if account.Auvious.ApplicationID != "" && options.ApplicationID != "" && options.ApplicationID != account.Auvious.ApplicationID {
		return event, web.BadRequest("wrong_application", "applicationId is not the one of this account")
	}
	return event, nil
}

// readURLBase returns an account's beginning of links with its scheme.
func readURLBase(text string, account accounts.Account) (string, error) {
	if text == "" {
		return "", nil
	}
	base, err := accounts.ParseURLBase(text)
	switch {
	case err != nil:
		return "", err
	case len(account.LinkHosts) > 0 && !account.LinkHosts.Has(base.Hostname()):
		return "", errors.New("is on none of the hosts that this account's links may be on: leave it out, or ask the operator of roomlink")
	}
	return base.String(), nil
}

// expiration reads an integer of JSON Schema: 3600, 3600.0 and 3.6e3 are the same.
func expiration(raw jsontext.Value) (*int64, error) {
	if raw == nil {
		return nil, nil
	}
	var number float64
	if err := json.Unmarshal(raw, &number); err != nil || number != math.Trunc(number) {
		return nil, errors.New("is not an integer")
	}
	if number < 0 || number > messages.MaxTicketExpirationSeconds {
		return nil, fmt.Errorf("is not between 0 and %d", messages.MaxTicketExpirationSeconds)
	}
	seconds := int64(number)
	return &seconds, nil
}

// violations describes the violations of the schema in one sentence.
func violations(err error) string {
	const prefix = "the request does not fit its schema"
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return prefix
	}
	printer := message.NewPrinter(language.English)
	var found []string
	var collect func(*jsonschema.ValidationError)
	collect = func(violation *jsonschema.ValidationError) {
		if len(violation.Causes) == 0 {
			text := violation.ErrorKind.LocalizedString(printer)
			if place := strings.Join(violation.InstanceLocation, "/"); place != "" {
				text = place + ": " + text
			}
			found = append(found, clip(text))
		}
		for _, cause := range violation.Causes {
			collect(cause)
		}
	}
	collect(invalid)
	if len(found) > maxViolations {
		found = append(found[:maxViolations], "and more")
	}
	return prefix + ": " + strings.Join(found, "; ")
}

// clip shortens foreign text for an error.
func clip(text string) string {
	if len(text) <= maxClip {
		return text
	}
	return strings.ToValidUTF8(text[:maxClip], "") + "…"
}
