package messages_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// Each stored-*.jsonl in testdata has messages that an earlier version wrote. Streams
// still contain such messages, so never change these files: only add new ones.
func TestStoredMessagesDecode(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "stored-*.jsonl"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("stored messages: got %d files and error %v, want some", len(paths), err)
	}
	for _, path := range paths {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("reading stored messages: %v", err)
		}
		for line := range bytes.Lines(file) {
			want := parse(t, line)
			i := slices.IndexFunc(contracts, func(c contract) bool { return c.eventType == want["type"] })
			if i < 0 {
				t.Fatalf("%s: got a message of type %q, want one of the contract", path, want["type"])
			}
			got, err := contracts[i].roundTrip(line)
			if err != nil || !reflect.DeepEqual(parse(t, got), want) {
				t.Errorf("%s: got %s and error %v, want %s", path, got, err, line)
			}
		}
	}
}

// The former types copy the types of November 2026, with Time as time.Time and Secret as
// string. A program of that time still reads our messages, so never change these types.
type (
	formerEvent[T any] struct {
		SpecVersion     string    `json:"specversion"`
		ID              string    `json:"id"`
		Source          string    `json:"source"`
		Type            string    `json:"type"`
		Subject         string    `json:"subject"`
		Time            time.Time `json:"time"`
		DataContentType string    `json:"datacontenttype"`
		TraceParent     string    `json:"traceparent,omitempty"`
		Data            T         `json:"data"`
	}
	formerOptions struct {
		ApplicationID           string `json:"applicationId,omitempty"`
		Destination             string `json:"cdestination,omitempty"`
		OrganizationID          string `json:"organizationId,omitempty"`
		TicketExpirationSeconds *int64 `json:"ticketExpirationSeconds,omitempty"`
		URLBase                 string `json:"urlBase,omitempty"`
	}
	formerStarted struct {
		Account       string    `json:"account"`
		InteractionID string    `json:"interactionId"`
		CustomerID    string    `json:"customerId"`
		Channel       string    `json:"channel"`
		Source        string    `json:"source"`
		StartedAt     time.Time `json:"startedAt,omitzero"`
		ReceivedAt    time.Time `json:"receivedAt"`
		Renews        int       `json:"renews,omitzero"`
		Replays       int       `json:"replays,omitzero"`
		formerOptions
	}
	formerLinks struct {
		Account       string    `json:"account"`
		InteractionID string    `json:"interactionId"`
		CustomerID    string    `json:"customerId"`
		AgentURL      string    `json:"agentUrl"`
		RecordingURL  string    `json:"recordingUrl"`
		TicketURL     string    `json:"ticketUrl"`
		CreatedAt     time.Time `json:"createdAt"`
		ExpiresAt     time.Time `json:"expiresAt"`
		Generation    int       `json:"generation"`
		formerOptions
	}
	formerDeadLetter struct {
		Account       string         `json:"account"`
		InteractionID string         `json:"interactionId"`
		Reason        string         `json:"reason"`
		Detail        string         `json:"detail"`
		HTTPStatus    int            `json:"httpStatus,omitzero"`
		Attempts      int            `json:"attempts"`
		AcceptedAt    time.Time      `json:"acceptedAt"`
		LastAttemptAt time.Time      `json:"lastAttemptAt"`
		Event         jsontext.Value `json:"event"`
	}
)

func TestFormerTypesDecodeMessages(t *testing.T) {
	request := roomlinktest.FullRequest(t, "a b")
	options := formerOptions{
		request.ApplicationID, request.Destination, request.OrganizationID, request.TicketExpirationSeconds, request.URLBase,
	}
	noon := roomlinktest.Noon.Time
	event := roomlinktest.Encode(t, roomlinktest.Started("a b"))
	wantFormer(t, messages.TypeStarted, messages.NewEvent(roomlinktest.Noon, messages.Started{
		Request: request, Channel: messages.ChannelVoice, Source: messages.SourceCard, StartedAt: roomlinktest.Noon,
		ReceivedAt: roomlinktest.Noon, Renews: 3, Replays: 2,
	}), formerStarted{"acme", "a b", request.CustomerID, "voice", "card", noon, noon, 3, 2, options})
	wantFormer(t, messages.TypeLinks, messages.NewEvent(roomlinktest.Noon, messages.Links{
		Request: request, AgentURL: "https://a", RecordingURL: "https://r", TicketURL: "https://t",
		CreatedAt: roomlinktest.Noon, ExpiresAt: roomlinktest.Noon, Generation: 4,
	}), formerLinks{"acme", "a b", request.CustomerID, "https://a", "https://r", "https://t", noon, noon, 4, options})
	wantFormer(t, messages.TypeDeadLetter, messages.NewEvent(roomlinktest.Noon, messages.DeadLetter{
		Conversation: request.Conversation, Reason: messages.ReasonExpired, Detail: "d", HTTPStatus: 503, Attempts: 9,
		AcceptedAt: roomlinktest.Noon, LastAttemptAt: roomlinktest.Noon, Event: event,
	}), formerDeadLetter{"acme", "a b", "expired", "d", 503, 9, noon, noon, jsontext.Value(event)})
}

// wantFormer encodes a message and decodes it with former types.
func wantFormer[T messages.Data, F any](t *testing.T, eventType string, e messages.Event[T], data F) {
	t.Helper()
	e.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	want := formerEvent[F]{
		SpecVersion: "1.0", ID: e.ID, Source: "roomlink/acme", Type: eventType, Subject: "a b",
		Time: e.Time.Time, DataContentType: "application/json", TraceParent: e.TraceParent, Data: data,
	}
	var got formerEvent[F]
	err := json.Unmarshal(roomlinktest.Encode(t, e), &got)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("former type: got %+v and error %v, want %+v", got, err, want)
	}
}
