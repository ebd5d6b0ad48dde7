package simulator

import (
	"bytes"
	"crypto/rand"
	_ "embed" // the request's schema
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// destination is the only cdestination that the real facade is known to accept.
const destination = "standalone"

//go:embed room-request.schema.json
var schemaText []byte

func compileSchema() (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaText))
	if err != nil {
		return nil, fmt.Errorf("reading the room request schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("room-request.schema.json", document); err != nil {
		return nil, fmt.Errorf("adding the room request schema: %w", err)
	}
	schema, err := compiler.Compile("room-request.schema.json")
	if err != nil {
		return nil, fmt.Errorf("compiling the room request schema: %w", err)
	}
	return schema, nil
}

// roomCall is a room call with its body read.
type roomCall struct {
	request       *http.Request
	body          []byte
	value         any // the decoded body, if bodyErr is nil
	bodyErr       error
	interactionID string // "" if the body has none
	number        int
}

// serveRoom answers POST /security/facades/room.
func (s *Simulator) serveRoom(w http.ResponseWriter, r *http.Request) {
	s.ledger.count(func(stats *Stats) { stats.RoomCalls++ })
	count := s.ledger.countRoomStatus
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		deliver(w, r, unreadable(err), count)
		return
	}
	call := s.receive(r, body)
	if play(w, r, s.scripted(call), count) {
		return
	}
	s.finish(w, r, s.decide(call), count)
}

// unreadable returns the answer to a body that cannot be read completely.
func unreadable(err error) Answer {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refusal(http.StatusRequestEntityTooLarge, "the body is too large")
	}
	return Answer{Close: CloseAfterReading} // the client went away
}

// receive decodes, counts and keeps a room call.
func (s *Simulator) receive(r *http.Request, body []byte) roomCall {
	call := roomCall{request: r, body: body}
	call.value, call.bodyErr = jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if object, ok := call.value.(map[string]any); ok {
		call.interactionID, _ = object["interactionId"].(string)
	}
	call.number = s.ledger.countCall(call.interactionID)
	s.ledger.keep(call)
	return call
}

// scripted returns the script's answer, or nil. It makes a room if the answer says so.
func (s *Simulator) scripted(call roomCall) *Answer {
	script := s.script.Load()
	if script == nil {
		return nil
	}
	a := (*script)(Call{Request: newRequest(call), Number: call.number})
	if a != nil && a.Room && !a.normal() && a.Close != CloseBeforeReading {
		s.ledger.countRoom(call.interactionID)
	}
	return a
}

// decide returns the answer to a room call. It makes a room if no fault and no check refuses
// the call.
func (s *Simulator) decide(call roomCall) Answer {
	faults := s.faults.Load()
	named := faults.of(s.config.Now(), func(f namedFault) bool {
		return f.room && (!f.firstToken || s.issuer.isFirst(call.request))
	})
	fate := faults.draw()
	switch {
	case named.replaces() && !named.answer.Room:
		return faults.delay(named.answer)
	case fate == fateRefused:
		return faults.roomRefusal()
	}
	if refused := s.check(call); refused != nil {
		return *refused
	}
	s.ledger.countRoom(call.interactionID)
	switch {
	case named.replaces():
		return faults.delay(named.answer)
	case fate == fateDropped:
		return Answer{Close: CloseAfterReading}
	case fate == fateHung:
		return Answer{Wait: make(chan struct{}), Close: CloseAfterReading}
	}
	a := s.links(call)
	if named.change != nil {
		named.change(&a)
	}
	return a
}

// links returns the answer with the links of a new room.
func (s *Simulator) links(call roomCall) Answer {
	base := s.baseURL(call.request)
	return jsonAnswer(http.StatusOK, struct {
		AgentURL     string `json:"agentUrl"`
		RecordingURL string `json:"recordingUrl"`
		TicketURL    string `json:"ticketUrl"`
	}{AgentURL: base + "/agent/" + strings.ToLower(rand.Text()), TicketURL: base + "/t/" + newTicket()})
}

// check returns the facade's refusal of a room call, or nil.
func (s *Simulator) check(call roomCall) *Answer {
	mediaType, _, err := mime.ParseMediaType(call.request.Header.Get("Content-Type"))
	var answer Answer
	switch {
	case !s.issuer.accepts(call.request):
		answer = refusal(http.StatusUnauthorized, "the access token is missing, expired or revoked").
			withHeader("WWW-Authenticate", `Bearer realm="auvious"`)
	case err != nil || mediaType != "application/json":
		answer = refusal(http.StatusUnsupportedMediaType, "the content type is not application/json")
	case call.bodyErr != nil:
		answer = refusal(http.StatusBadRequest, "the body is not one JSON value")
	default:
		return s.checkFields(call.value)
	}
	return &answer
}

// checkFields returns the refusal of a decoded room request, or nil.
func (s *Simulator) checkFields(value any) *Answer {
	status := http.StatusBadRequest
	var description string
	fields, _ := value.(map[string]any) // the schema requires an object
	base, _ := fields["urlBase"].(string)
	schemaErr, baseErr := s.schema.Validate(value), checkAbsolute(base)
	switch {
	case schemaErr != nil:
		description = describe(schemaErr)
	case fields["cdestination"] != destination:
		description = "cdestination is not " + destination
	case baseErr != nil:
		description = "urlBase " + baseErr.Error()
	case s.config.ApplicationID != "" && fields["applicationId"] != s.config.ApplicationID:
		status, description = http.StatusForbidden, "the application does not belong to this client"
	default:
		return nil
	}
	answer := refusal(status, description)
	return &answer
}

// describe returns the violations of a schema on one line, without the schema's address.
func describe(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimSpace(line), "- ")
	}
	return strings.Join(lines[min(1, len(lines)-1):], "; ")
}

// baseURL returns the prefix of a room's URLs.
func (s *Simulator) baseURL(r *http.Request) string {
	switch {
	case s.config.BaseURL != "":
		return s.config.BaseURL
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// newTicket returns 9 random letters and digits.
func newTicket() string { return strings.ToLower(rand.Text()[:9]) }
