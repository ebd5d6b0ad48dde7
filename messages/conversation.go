package messages

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	// ErrNotFound says that nothing is stored for a conversation.
	ErrNotFound = errors.New("nothing is stored for this conversation")
	// ErrInvalid says that a message or an identifier breaks the contract.
	ErrInvalid = errors.New("invalid")
	// ErrQueueFull says that the queue of conversations takes no more events.
	ErrQueueFull = errors.New("the queue of conversations is full")
	// ErrSuperseded says that other links were stored in between.
	ErrSuperseded = errors.New("other links were stored in between")
	// ErrWaiting says that an event of the conversation waits already.
	ErrWaiting = errors.New("an event of this conversation waits already")
)

// MaxInteractionID is the length of the longest interaction id, in bytes.
const MaxInteractionID = 256

const (
	maxAccount = 32
	maxToken   = 64
)

// Conversation names one contact between a customer and an agent: Talkdesk's
// interaction (voice) or conversation (digital) in one account of ours.
type Conversation struct {
	Account       string
	InteractionID string
}

// Validate returns nil, or an error that wraps [ErrInvalid].
func (c Conversation) Validate() error {
	if err := ValidateAccount(c.Account); err != nil {
		return err
	}
	return ValidateInteractionID(c.InteractionID)
}

// Token is the subject token of the conversation's interaction id.
func (c Conversation) Token() string { return Token(c.InteractionID) }

// EventSubject is where the event that asks for a room is published.
func (c Conversation) EventSubject() string {
	return eventSubjects + c.Account + "." + c.Token()
}

// LinksSubject is where the links are published.
func (c Conversation) LinksSubject() string {
	return linksSubjects + c.Account + "." + c.Token()
}

// DeadLetterSubject is where the dead letter is published.
func (c Conversation) DeadLetterSubject() string {
	return deadLetterSubjects + c.Account + "." + c.Token()
}

// MessageID is the Nats-Msg-Id of the event that asks for a generation of
// links, by which the broker recognises a repeat within its duplicate window.
func (c Conversation) MessageID(generation int) string {
	return c.Account + "/" + c.Token() + "/" + strconv.Itoa(generation)
}

// Token gives the subject token of an interaction id: the id itself where NATS
// takes it as it is, else "~" and the unpadded base64url of its SHA-256.
func Token(interactionID string) string {
	if isToken(interactionID) {
		return interactionID
	}
	sum := sha256.Sum256([]byte(interactionID))
	return "~" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// isToken reports whether a text is 1 to 64 letters, digits, underscores and
// hyphens.
func isToken(s string) bool {
	return s != "" && len(s) <= maxToken && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAccountRune(r) && (r < 'A' || r > 'Z') && r != '_'
	})
}

func isAccountRune(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' }

// ValidateAccount returns nil for 1 to 32 lower-case letters, digits and
// hyphens, else an error that wraps [ErrInvalid].
func ValidateAccount(name string) error {
	if name == "" || len(name) > maxAccount ||
		strings.ContainsFunc(name, func(r rune) bool { return !isAccountRune(r) }) {
		return fmt.Errorf("%w: account %q: want 1 to 32 of a-z, 0-9 and -", ErrInvalid, clip(name))
	}
	return nil
}

// ValidateInteractionID returns nil for 1 to 256 bytes of valid UTF-8 without
// control characters that are no unresolved template, else an error that wraps
// [ErrInvalid]. A template that Talkdesk left unresolved is the same for every
// conversation, and would put strangers into one room.
func ValidateInteractionID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: the interaction id is empty", ErrInvalid)
	case len(id) > MaxInteractionID:
		return fmt.Errorf("%w: the interaction id has %d bytes: at most %d are taken",
			ErrInvalid, len(id), MaxInteractionID)
	case !utf8.ValidString(id):
		return fmt.Errorf("%w: the interaction id is not valid UTF-8", ErrInvalid)
	case strings.ContainsFunc(id, unicode.IsControl):
		return fmt.Errorf("%w: the interaction id has a control character", ErrInvalid)
	case strings.Contains(id, "{{") && strings.Contains(id, "}}"):
		return fmt.Errorf("%w: the interaction id %q is an unresolved template", ErrInvalid, clip(id))
	case strings.TrimSpace(id) == "":
		return fmt.Errorf("%w: the interaction id is blank", ErrInvalid)
	}
	return nil
}

// clip shortens foreign text for an error.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
