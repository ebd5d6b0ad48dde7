package messages

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Outcome says what became of an event that was published.
type Outcome int

const (
	// Accepted says that the event is stored.
	Accepted Outcome = iota
	// Duplicate says that the conversation had its event already, and that one is
	// stored.
	Duplicate
)

// String is the outcome in one lower-case word.
func (o Outcome) String() string {
	if o == Duplicate {
		return "duplicate"
	}
	return "accepted"
}

// What the broker says of a store that it refused (nats-server, store.go). All
// of them carry the code errCodeStoreFailed.
const (
	errCodeStoreFailed jetstream.ErrorCode = 10077

	textPerSubject = "maximum messages per subject exceeded"
	textMaxBytes   = "maximum bytes exceeded"
	textMaxMsgs    = "maximum messages exceeded"
)

// publishAttempts bounds how often an event is published that the broker refuses
// for another one which then is not there.
const publishAttempts = 3

// Publish stores the event that asks for a room, and returns once the broker has
// acknowledged that, or holds an event of the conversation already. It
// returns [ErrQueueFull] if the queue takes no more, an error that wraps
// [ErrInvalid] for an event that breaks the contract, and else the broker's
// error or the context's; then the event may or may not be stored.
func (c *Client) Publish(ctx context.Context, e Event[Started]) (Outcome, error) {
	return c.publish(ctx, e, e.Data.Conversation().MessageID(e.Data.Generation()))
}

func (c *Client) publish(ctx context.Context, e Event[Started], messageID string) (Outcome, error) {
	if c.trouble != nil {
		if err := c.trouble(); err != nil {
			return 0, fmt.Errorf("publishing the event: %w", err)
		}
	}
	conversation := e.Data.Conversation()
	for attempt := 1; ; attempt++ {
		msg, err := e.Message(conversation.EventSubject())
		if err != nil {
			return 0, err
		}
		expect(msg, messageID, ConversationsStream)
		ack, err := c.put(ctx, c.events, msg)
		switch {
		case err == nil && ack.duplicate:
			return Duplicate, nil
		case err == nil:
			return Accepted, nil
		case isFull(err):
			return 0, ErrQueueFull
		case !isOccupied(err):
			return 0, fmt.Errorf("publishing the event: %w", err)
		}
		// The refusal also stands for an event that is only on its way into the
		// stream, and may not arrive. It counts once it is there for sure; one that
		// was done with in between has left its place to ours.
		since, err := c.waitingSince(ctx, conversation)
		if err != nil {
			return 0, err
		}
		if !since.IsZero() {
			return Duplicate, nil
		}
		if attempt == publishAttempts {
			return 0, fmt.Errorf("publishing the event: %w, and is not stored yet", ErrWaiting)
		}
	}
}

// isOccupied reports the refusal of a second message on a subject that has one.
func isOccupied(err error) bool { return isStoreFailure(err, textPerSubject) }

// isFull reports the refusal of a stream that has reached its size.
func isFull(err error) bool {
	return isStoreFailure(err, textMaxBytes) || isStoreFailure(err, textMaxMsgs)
}

func isStoreFailure(err error, text string) bool {
	var refusal *jetstream.APIError
	return errors.As(err, &refusal) && refusal.ErrorCode == errCodeStoreFailed &&
		strings.Contains(refusal.Description, text)
}

// PublishLinks stores the links of a conversation if the last ones there are
// still those at the sequence after; 0 for none. It returns the sequence of what
// is stored, and [ErrSuperseded] if others were stored in between: read those
// with the leader's consistency, and decide anew. Any other error leaves open
// whether the links are stored; publishing the same event again is safe, and
// returns [ErrSuperseded] if they are.
func (c *Client) PublishLinks(ctx context.Context, e Event[Links], after uint64) (uint64, error) {
	msg, err := e.Message(e.Data.Conversation().LinksSubject())
	if err != nil {
		return 0, err
	}
	// No message id: the sequence is looked at before it, and refuses a repeat too.
	msg.Header[jetstream.ExpectedStreamHeader] = streamHeader[LinksStream]
	msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(after, 10)}
	ack, err := c.put(ctx, c.links, msg)
	var refusal *jetstream.APIError
	if errors.As(err, &refusal) && refusal.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, ErrSuperseded
	}
	if err != nil {
		return 0, fmt.Errorf("publishing the links: %w", err)
	}
	return ack.sequence, nil
}

// streamHeader are the values of the header that names a stream; shared by all
// messages, as are those of [Event.Message].
var streamHeader = map[string][]string{
	ConversationsStream: {ConversationsStream}, LinksStream: {LinksStream}, DeadLettersStream: {DeadLettersStream},
}

// expect says by which id the broker recognises a message, and in which stream it
// is to be stored.
func expect(msg *nats.Msg, messageID, stream string) {
	msg.Header[jetstream.MsgIDHeader] = []string{messageID}
	msg.Header[jetstream.ExpectedStreamHeader] = streamHeader[stream]
}

// put stores a message, in a group if there is one.
func (c *Client) put(ctx context.Context, group *committer, msg *nats.Msg) (receipt, error) {
	if group != nil {
		return group.publish(ctx, msg)
	}
	if c.alone {
		// The client's own way takes longer to read an answer, and waits if nobody gives
		// one: there may be another leader soon.
		r, err := putOnce(ctx, c.nc, msg)
		if !errors.Is(err, nats.ErrNoResponders) {
			return r, err
		}
	}
	ack, err := c.js.PublishMsg(ctx, msg)
	if err != nil {
		return receipt{}, err
	}
	return receipt{ack.Sequence, ack.Duplicate}, nil
}

// putOnce publishes a message, and reads what the broker says of it.
func putOnce(ctx context.Context, nc *nats.Conn, msg *nats.Msg) (receipt, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	reply, err := nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return receipt{}, err
	}
	var ack struct {
		Stream    string              `json:"stream"`
		Sequence  uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Error     *jetstream.APIError `json:"error"`
	}
	err = json.Unmarshal(reply.Data, &ack)
	switch {
	case err != nil || ack.Error == nil && ack.Stream == "":
		return receipt{}, jetstream.ErrInvalidJSAck
	case ack.Error != nil:
		return receipt{}, ack.Error
	}
	return receipt{ack.Sequence, ack.Duplicate}, nil
}

// PublishDeadLetter stores a dead letter in place of an earlier one of the same
// conversation. The token is that of the subject which its event came on: an
// event that cannot be read has no interaction id to make it of. Its errors are
// the broker's, or wrap [ErrInvalid].
func (c *Client) PublishDeadLetter(ctx context.Context, e Event[DeadLetter], token string) error {
	msg, err := e.Message(deadLetterSubjects + e.Data.Account + "." + token)
	if err != nil {
		return err
	}
	expect(msg, e.ID, DeadLettersStream)
	if _, err = c.put(ctx, nil, msg); err != nil {
		return fmt.Errorf("publishing the dead letter: %w", err)
	}
	return nil
}

// SplitSubject returns the account and the token that a subject of ours ends in,
// or an error that wraps [ErrInvalid].
func SplitSubject(subject string) (account, token string, err error) {
	parts := strings.Split(subject, ".")
	if len(parts) != 4 || parts[0] != "roomlink" {
		return "", "", fmt.Errorf("%w: subject %q", ErrInvalid, clip(subject))
	}
	return parts[2], parts[3], nil
}
