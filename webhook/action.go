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

// roomRequestSchema is the input schema of auvious' own action, word for word
// (auvious, "Actions", step 3).
//
//go:embed room-request.schema.json
var roomRequestSchema []byte

// maxExpiration bounds the life of a ticket that a caller may ask for, in
// seconds: ten years, which is a slip if anything.
const maxExpiration = 10 * 365 * 24 * 60 * 60

// maxText bounds each text of a request, in bytes: an event must fit into a
// message of the broker's, and into a dead letter around it.
const maxText = 2048

// compiledSchema is compiled once, on first use.
var compiledSchema = sync.OnceValue(func() *jsonschema.Schema {
	const name = "room-request.schema.json"
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(roomRequestSchema))
	if err != nil {
		panic(err) // it is part of the program
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, document); err != nil {
		panic(err)
	}
	return compiler.MustCompile(name)
})

// decodeAction reads the request of auvious' own action, held to its schema.
func decodeAction(body []byte, fields fields, account accounts.Account) (notice, error) {
	n := notice{source: messages.SourceAction, channel: messages.ChannelAction, start: true}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return n, jsonError(err)
	}
	if err := compiledSchema().Validate(document); err != nil {
		return n, web.BadRequest("schema", "%s", violations(err))
	}
	var urlBase string
	for _, field := range []struct {
		name string
		to   *string
	}{
		{"interactionId", &n.interactionID},
		{"customerId", &n.customerID},
		{"applicationId", &n.options.ApplicationID},
		{"cdestination", &n.options.Destination},
		{"organizationId", &n.options.OrganizationID},
		{"urlBase", &urlBase},
	} {
		if *field.to, err = fields.text(field.name, false); err != nil {
			return n, err
		}
		if length := len(*field.to); length > maxText {
			return n, web.BadRequest("too_long", "the field %s has %d bytes: at most %d are taken", field.name, length, maxText)
		}
	}
	if n.options.URLBase, err = withScheme(urlBase); err != nil {
		return n, web.BadRequest("bad_url_base", "urlBase %v", err)
	}
	if n.options.TicketExpirationSeconds, err = expiration(fields.value("ticketExpirationSeconds")); err != nil {
		return n, web.BadRequest("bad_ticket_expiration", "ticketExpirationSeconds %v", err)
	}
	if account.Auvious.ApplicationID != "" && n.options.ApplicationID != "" &&
		n.options.ApplicationID != account.Auvious.ApplicationID {
		return n, web.BadRequest("wrong_application", "applicationId is not the one of this account")
	}
	return n, checkCustomer(&n)
}

// expiration reads an integer as JSON Schema has it: 3600, 3600.0 and 3.6e3 are
// the same one.
func expiration(raw jsontext.Value) (*int64, error) {
	if raw == nil {
		return nil, nil
	}
	var number float64
	if err := json.Unmarshal(raw, &number); err != nil || number != math.Trunc(number) {
		return nil, errors.New("is not an integer")
	}
	if number < 0 || number > maxExpiration {
		return nil, fmt.Errorf("is not between 0 and %d", maxExpiration)
	}
	seconds := int64(number)
	return &seconds, nil
}

// violations names every violation of the schema in one sentence.
func violations(err error) string {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return "the request does not fit its schema"
	}
	printer := message.NewPrinter(language.English)
	var found []string
	var collect func(*jsonschema.ValidationError)
	collect = func(v *jsonschema.ValidationError) {
		if len(v.Causes) == 0 {
			place := strings.Join(v.InstanceLocation, "/")
			if place != "" {
				place += ": "
			}
			found = append(found, clip(place+v.ErrorKind.LocalizedString(printer)))
		}
		for _, cause := range v.Causes {
			collect(cause)
		}
	}
	collect(invalid)
	const most = 8
	if len(found) > most {
		found = append(found[:most], "and more")
	}
	return "the request does not fit its schema: " + strings.Join(found, "; ")
}
