package roomlinktest

import (
	"time"

	"roomlink/messages"
)

// Account is the one that has the conversations.
const Account = "acme"

// Noon is when they take place.
var Noon = messages.At(time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC))

// Conversation names one by its interaction.
func Conversation(id string) messages.Conversation {
	return messages.Conversation{Account: Account, InteractionID: id}
}

// Started is the event of a conversation.
func Started(id string) messages.Event[messages.Started] {
	return messages.NewEvent(Noon, messages.Started{
		Account:       Account,
		InteractionID: id,
		CustomerID:    "contact-42",
		Channel:       messages.ChannelVoice,
		Source:        messages.SourceAutomation,
		ReceivedAt:    Noon,
	})
}

// Renewal asks for the links after a generation.
func Renewal(id string, generation int) messages.Event[messages.Started] {
	e := Started(id)
	e.Data.Renews = generation
	return e
}

// Links are those of a conversation, which never expire.
func Links(id string, generation int) messages.Event[messages.Links] {
	return messages.NewEvent(Noon, messages.Links{
		Account:       Account,
		InteractionID: id,
		CustomerID:    "contact-42",
		AgentURL:      "https://video.example/agent",
		TicketURL:     "https://video.example/t/invented-ticket",
		CreatedAt:     Noon,
		Generation:    generation,
	})
}
