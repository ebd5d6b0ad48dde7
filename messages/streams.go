package messages

import (
	"fmt"
	"strings"
)

// The streams.
const (
	// ConversationsStream is the work queue of events that ask for a room.
	ConversationsStream = "ROOMLINK_CONVERSATIONS"
	// LinksStream keeps the latest links of every conversation.
	LinksStream = "ROOMLINK_LINKS"
	// DeadLettersStream keeps the events that got no links.
	DeadLettersStream = "ROOMLINK_DEAD_LETTERS"
)

// The subjects of the streams begin with these. The account and the subject token
// follow, separated by a dot.
const (
	EventSubjects      = "roomlink.conversations."
	LinksSubjects      = "roomlink.links."
	DeadLetterSubjects = "roomlink.deadletters."
)

// The broker publishes each message of the links and of the dead letters once more when
// it stores it, for core subscriptions. These subjects begin so, and end as the subject
// in the stream does. [DecodeLive] decodes them.
const (
	LiveSubjects   = "roomlink.live."
	FailedSubjects = "roomlink.failed."
)

// DurableName returns the name of a subscriber's durable consumers: the one on
// [LinksStream], and the one on [DeadLettersStream] if the subscriber may read dead
// letters. roomlink makes them.
func DurableName(account, subscriber string) string { return account + "_" + subscriber }

// SplitSubject returns the account and the token at the end of a subject. It returns
// an error that wraps [ErrInvalid] if the subject is not one of roomlink's.
func SplitSubject(subject string) (account, token string, err error) {
	parts := strings.Split(subject, ".")
	if len(parts) != 4 || parts[0] != "roomlink" {
		return "", "", fmt.Errorf("%w: subject %q", ErrInvalid, clip(subject))
	}
	return parts[2], parts[3], nil
}
