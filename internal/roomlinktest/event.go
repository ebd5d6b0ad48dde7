package roomlinktest

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"roomlink/messages"
)

// Account is the account of all conversations.
const Account = "acme"

// Noon is the time of all messages.
var Noon = messages.At(time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC))

// Conversation returns the conversation of [Account] with an interaction id.
func Conversation(id string) messages.Conversation {
	return messages.Conversation{Account: Account, InteractionID: id}
}

func request(id string) messages.Request {
	return messages.Request{Conversation: Conversation(id), CustomerID: "contact-42"}
}

// FullRequest returns a request with every field set, including fields of later versions.
func FullRequest(tb testing.TB, id string) messages.Request {
	tb.Helper()
	var request messages.Request
	for _, field := range reflect.VisibleFields(reflect.TypeOf(request)) {
		if field.Anonymous {
			continue
		}
		value := reflect.ValueOf(&request).Elem().FieldByIndex(field.Index)
		switch value.Interface().(type) {
		case string:
			value.SetString("full-" + strings.ToLower(field.Name))
		case *int64:
			seconds := int64(3600)
			value.Set(reflect.ValueOf(&seconds))
		default:
			tb.Fatalf("field %s: got type %v, want a type that FullRequest can set", field.Name, field.Type)
		}
	}
	request.Conversation = Conversation(id)
	return request
}

// Started returns the event that asks for the first links of a conversation.
func Started(id string) messages.Event[messages.Started] {
	return messages.NewEvent(Noon, messages.Started{
		Request:    request(id),
		Channel:    messages.ChannelVoice,
		Source:     messages.SourceAutomation,
		ReceivedAt: Noon,
	})
}

// Renewal returns the event that replaces the links of a generation.
func Renewal(id string, generation int) messages.Event[messages.Started] {
	e := Started(id)
	e.Data.Renews = generation
	return e
}

// Links returns links of a conversation that never expire.
func Links(id string, generation int) messages.Event[messages.Links] {
	return messages.NewEvent(Noon, messages.Links{
		Request:    request(id),
		AgentURL:   "https://video.example/agent",
		TicketURL:  "https://video.example/t/invented-ticket",
		CreatedAt:  Noon,
		Generation: generation,
	})
}

// ExpiredLinks returns the first links of a conversation. Their ticket ended in 2001.
func ExpiredLinks(id string) messages.Event[messages.Links] {
	e := Links(id, 1)
	e.Data.ExpiresAt = messages.At(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC))
	return e
}

// RevokedLinks returns links of a conversation that were revoked at noon.
func RevokedLinks(id string, generation int) messages.Event[messages.Links] {
	return messages.NewEvent(Noon, Links(id, generation).Data.Revoke(Noon))
}

// DeadLetter returns the dead letter of a conversation's first event.
func DeadLetter(tb testing.TB, id string) messages.Event[messages.DeadLetter] {
	tb.Helper()
	return messages.NewEvent(Noon, messages.DeadLetter{
		Conversation:  Conversation(id),
		Reason:        messages.ReasonRejected,
		Detail:        "auvious answered 422",
		HTTPStatus:    422,
		Attempts:      1,
		AcceptedAt:    Noon,
		LastAttemptAt: Noon,
		Event:         Encode(tb, Started(id)),
	})
}

// Encode returns an event as JSON.
func Encode[T messages.Data](tb testing.TB, e messages.Event[T]) json.RawMessage {
	tb.Helper()
	data, err := e.Encode()
	if err != nil {
		tb.Fatalf("encoding an event: %v", err)
	}
	return data
}
