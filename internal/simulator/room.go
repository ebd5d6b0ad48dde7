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

// destination is the only cdestination that the facade is known to take.
const destination = "standalone"

//go:embed room-request.schema.json
var schemaText []byte

// compileSchema returns the schema of a room request.
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
	interactionID string // empty if the body names none
	number        int
}

// serveRoom answers POST /security/facades/room.
func (s *Simulator) serveRoom(w http.ResponseWriter, r *http.Request) {
	s.ledger.roomCalls.Add(1)
	statuses := &s.ledger.roomStatuses
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		deliver(w, r, unreadable(err), statuses)
		return
	}
	call := s.receive(r, body)
	if play(w, r, s.scripted(call), statuses) {
		return
	}
	s.finish(w, r, s.decide(call), statuses)
}

// unreadable is the answer to a body that could not be read to its end.
func unreadable(err error) Answer {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refusal(http.StatusRequestEntityTooLarge, "the body is too large")
	}
	return Answer{Close: CloseAfterReading} // the client broke off
}

// receive decodes, counts and keeps a room call.
func (s *Simulator) receive(r *http.Request, body []byte) roomCall {
	call := roomCall{request: r, body: body}
	call.value, call.bodyErr = jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if object, ok := call.value.(map[string]any); ok {
		call.interactionID, _ = object["interactionId"].(string)
	}
	call.number = s.ledger.called(call.interactionID)
	s.ledger.keep(call)
	return call
}

// scripted returns the script's answer, or nil, and makes the room it asks for.
func (s *Simulator) scripted(call roomCall) *Answer {
	script := s.script.Load()
	if script == nil {
		return nil
	}
	a := (*script)(Call{Request: newRequest(call), Number: call.number})
	if a != nil && a.Room && !a.normal() && a.Close != CloseBeforeReading {
		s.ledger.made(call.interactionID)
	}
	return a
}

// decide has the faults and the checks decide over a room call, and makes the
// room if they let it pass.
func (s *Simulator) decide(call roomCall) Answer {
	faults := s.faults.Load()
	fate := faults.draw()
	if fate == fateRefused {
		return faults.roomRefusal()
	}
	if refused := s.check(call); refused != nil {
		return *refused
	}
	s.ledger.made(call.interactionID)
	switch fate {
	case fateDropped:
		return Answer{Close: CloseAfterReading}
	case fateHung:
		return Answer{Wait: make(chan struct{}), Close: CloseAfterReading}
	}
	base := s.baseURL(call.request)
	return jsonAnswer(http.StatusOK, struct {
		AgentURL     string `json:"agentUrl"`
		RecordingURL string `json:"recordingUrl"`
		TicketURL    string `json:"ticketUrl"`
	}{AgentURL: base + "/agent/" + strings.ToLower(rand.Text()), TicketURL: base + "/t/" + newTicket()})
}

// check returns the facade's refusal of a room call, or nil.
func (s *Simulator) check(call roomCall) *Answer {
	answer, ok := Answer{}, false
	mediaType, _, err := mime.ParseMediaType(call.request.Header.Get("Content-Type"))
	switch {
	case !s.issuer.knows(call.request):
		answer = refusal(http.StatusUnauthorized, "the access token is missing, expired or revoked").
			with("WWW-Authenticate", `Bearer realm="auvious"`)
	case err != nil || mediaType != "application/json":
		answer = refusal(http.StatusUnsupportedMediaType, "the content type is not application/json")
	case call.bodyErr != nil:
		answer = refusal(http.StatusBadRequest, "the body is not one JSON value")
	default:
		answer, ok = s.checkFields(call.value)
	}
	if ok {
		return nil
	}
	return &answer
}

// checkFields checks a decoded room request; the answer is its refusal.
func (s *Simulator) checkFields(value any) (refused Answer, ok bool) {
	if err := s.schema.Validate(value); err != nil {
		return refusal(http.StatusBadRequest, describe(err)), false
	}
	fields, _ := value.(map[string]any) // the schema saw to it
	if fields["cdestination"] != destination {
		return refusal(http.StatusBadRequest, "cdestination is not "+destination), false
	}
	base, _ := fields["urlBase"].(string)
	if err := checkAbsolute(base); err != nil {
		return refusal(http.StatusBadRequest, "urlBase "+err.Error()), false
	}
	if want := s.config.ApplicationID; want != "" && fields["applicationId"] != want {
		return refusal(http.StatusForbidden, "the application is not this client's"), false
	}
	return Answer{}, true
}

// describe puts a schema's violations on one line, without the schema's address.
func describe(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimSpace(line), "- ")
	}
	return strings.Join(lines[min(1, len(lines)-1):], "; ")
}

// baseURL is what the URLs of a room begin with.
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
func newTicket() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	const fair = 256 / len(letters) * len(letters) // above it some letters would come more often
	ticket := make([]byte, 0, 9)
	var random [16]byte
	for {
		_, _ = rand.Read(random[:]) // never returns an error
		for _, b := range random {
			if int(b) >= fair {
				continue
			}
			ticket = append(ticket, letters[int(b)%len(letters)])
			if len(ticket) == cap(ticket) {
				return string(ticket)
			}
		}
	}
}
