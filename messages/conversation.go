package messages

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	// ErrNotFound reports that nothing is stored for a conversation.
	ErrNotFound = errors.New("nothing is stored for this conversation")
	// ErrInvalid reports a message or an identifier that breaks the contract.
	ErrInvalid = errors.New("invalid")
)

// MaxInteractionID is the maximum length of an interaction id in bytes.
const MaxInteractionID = 256

const (
	maxAccount = 32
	maxToken   = 64
)

// Conversation identifies one contact between a customer and an agent: Talkdesk's
// interaction (voice) or conversation (digital) in one account.
type Conversation struct {
	Account       string `json:"account"`
	InteractionID string `json:"interactionId"`
}

// Validate checks the account and the interaction id. It returns nil, or an error that
// wraps [ErrInvalid].
func (c Conversation) Validate() error {
	if err := ValidateAccount(c.Account); err != nil {
		return err
	}
	return ValidateInteractionID(c.InteractionID)
}

// EventSubject returns the subject of the event that asks for a room.
func (c Conversation) EventSubject() string {
	return EventSubjects + c.Account + "." + Token(c.InteractionID)
}

// LinksSubject returns the subject of the links.
func (c Conversation) LinksSubject() string {
	return LinksSubjects + c.Account + "." + Token(c.InteractionID)
}

// DeadLetterSubject returns the subject of the dead letter.
func (c Conversation) DeadLetterSubject() string {
	return DeadLetterSubjects + c.Account + "." + Token(c.InteractionID)
}

// conversation lets generic code read the conversation of any [Data].
func (c Conversation) conversation() Conversation { return c }

// Token returns the subject token of an interaction id. It is the id itself if the
// id has 1 to 64 letters, digits, underscores and hyphens. Otherwise it is "~" and
// the unpadded base64url of the id's SHA-256.
func Token(interactionID string) string {
	if isToken(interactionID) {
		return interactionID
	}
	sum := sha256.Sum256([]byte(interactionID))
	return "~" + base64.RawURLEncoding.EncodeToString(sum[:])
}

func isToken(s string) bool {
	return s != "" && len(s) <= maxToken && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAccountRune(r) && (r < 'A' || r > 'Z') && r != '_'
	})
}

func isAccountRune(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' }

// ValidateAccount returns nil for 1 to 32 lower-case letters, digits and hyphens.
// Otherwise it returns an error that wraps [ErrInvalid].
func ValidateAccount(name string) error {
	if name == "" || len(name) > maxAccount ||
		strings.ContainsFunc(name, func(r rune) bool { return !isAccountRune(r) }) {
		return fmt.Errorf("%w: account %q: want 1 to 32 of a-z, 0-9 and -", ErrInvalid, clip(name))
	}
	return nil
}

// ValidateInteractionID returns nil for 1 to [MaxInteractionID] bytes of valid UTF-8
// that are not blank and have no control characters. Otherwise it returns an error that
// wraps [ErrInvalid]. It also refuses a template that Talkdesk left unresolved: every
// conversation would have the same id, and strangers would share a room.
func ValidateInteractionID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: the interaction id is empty", ErrInvalid)
	case len(id) > MaxInteractionID:
		return fmt.Errorf("%w: the interaction id has %d bytes: the maximum is %d", ErrInvalid, len(id), MaxInteractionID)
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
	const maxLength = 64
	if len(s) <= maxLength {
		return s
	}
	return strings.ToValidUTF8(s[:maxLength], "") + "…"
}
