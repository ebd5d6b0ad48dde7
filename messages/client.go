package messages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Client reads and publishes the messages of roomlink. A subscriber needs
// [Client.Links] and [Client.Watch], and the permissions for those alone; the
// other methods are for the parts of roomlink and its operator. A request for which
// the context has no deadline may take 5 s. A client may be used by many goroutines
// at once.
type Client struct {
	js jetstream.JetStream
	nc *nats.Conn
	// events and links store messages in groups; nil to store each by itself.
	events, links *committer
	// direct reads the streams that allow it in groups.
	direct map[string]*lookups
	// alone says that the streams have one replica.
	alone bool
	// trouble is asked before an event is published; nil to ask nobody.
	trouble func() error
}

// Option is a choice about a [Client].
type Option func(*Client)

// GroupCommit has events and links that are published at the same time stored in
// groups: on a broker that syncs every write to the disk, one sync serves them
// all. On another one it only costs time.
func GroupCommit() Option {
	return func(c *Client) { c.events, c.links = newCommitter(c.js), newCommitter(c.js) }
}

// SingleServer says that the broker is one server by itself, with no other that a
// replica could lie on: every read is the leader's, and may be made in the way
// that is three times cheaper, together with those that are made at the same time.
func SingleServer() Option { return func(c *Client) { c.alone = true } }

// Unless has an event that is published refused at once with the error that trouble
// returns, if any: a broker whose store is known to fail answers nobody, and would be
// waited for. It is asked for every event, and so must not take long.
func Unless(trouble func() error) Option { return func(c *Client) { c.trouble = trouble } }

// NewClient returns a client on a connection. The connection stays the caller's.
func NewClient(js jetstream.JetStream, options ...Option) *Client {
	c := &Client{js: js, nc: js.Conn()}
	c.direct = map[string]*lookups{
		LinksStream:       newLookups(c.nc, LinksStream, 0),
		DeadLettersStream: newLookups(c.nc, DeadLettersStream, gatherDeadLetters),
	}
	for _, option := range options {
		option(c)
	}
	return c
}

// Close waits until nothing is being published or read any more, for which the
// callers of the methods must have returned. The client may be used again.
func (c *Client) Close() {
	for _, group := range []*committer{c.events, c.links} {
		if group != nil {
			group.running.Wait()
		}
	}
	for _, group := range c.direct {
		group.running.Wait()
	}
}

// JetStream returns the connection that the client was made with.
func (c *Client) JetStream() jetstream.JetStream { return c.js }

// Links returns the last links of a conversation. It returns [ErrNotFound] if
// there are none (yet), an error that wraps [ErrInvalid] for an impossible name,
// and else the broker's error or the context's. A message that breaks the contract
// is an error that wraps [ErrInvalid] too, and comes with its sequence.
func (c *Client) Links(ctx context.Context, conversation Conversation, from Consistency) (Stored[Links], error) {
	return last[Links](ctx, c, LinksStream, conversation, from)
}

// DeadLetter returns the dead letter of a conversation, with the errors of
// [Client.Links].
func (c *Client) DeadLetter(
	ctx context.Context, conversation Conversation, from Consistency,
) (Stored[DeadLetter], error) {
	return last[DeadLetter](ctx, c, DeadLettersStream, conversation, from)
}

// Waiting returns the event of a conversation that waits for its room or is
// being worked on, with the errors of [Client.Links].
func (c *Client) Waiting(ctx context.Context, conversation Conversation) (Stored[Started], error) {
	return last[Started](ctx, c, ConversationsStream, conversation, Leader)
}

// waitingSince tells when the event of a conversation was stored that waits or is
// being worked on, be it readable or not; zero if there is none.
func (c *Client) waitingSince(ctx context.Context, conversation Conversation) (time.Time, error) {
	m, err := readLeader(ctx, c.nc, ConversationsStream, conversation.EventSubject())
	if errors.Is(err, ErrNotFound) {
		return time.Time{}, nil
	}
	return m.storedAt, err
}

func last[T Data](
	ctx context.Context, c *Client, stream string, conversation Conversation, from Consistency,
) (Stored[T], error) {
	if err := conversation.Validate(); err != nil {
		return Stored[T]{}, err
	}
	m, err := c.readLast(ctx, stream, subjectIn(stream, conversation), from)
	if err != nil {
		return Stored[T]{}, err
	}
	return decodeStored[T](m)
}

func subjectIn(stream string, conversation Conversation) string {
	switch stream {
	case LinksStream:
		return conversation.LinksSubject()
	case DeadLettersStream:
		return conversation.DeadLetterSubject()
	}
	return conversation.EventSubject()
}

// WatchOptions choose what [Client.Watch] tells of.
type WatchOptions struct {
	// FromNow leaves out the links that are stored already.
	FromNow bool
}

// Watch calls fn with the links of an account as they are stored, one after the
// other and until the context ends or fn returns an error, which it returns. It
// begins with the links that are there, unless told otherwise. A message that
// breaks the contract is passed over. It survives a restart of the broker. Its
// other errors are the broker's, and say that the watch could not begin.
func (c *Client) Watch(
	ctx context.Context, account string, options WatchOptions, fn func(Stored[Links]) error,
) error {
	if err := ValidateAccount(account); err != nil {
		return err
	}
	consumer, err := c.orderedLinks(ctx, account, options)
	if err != nil {
		return fmt.Errorf("watching the links of %q: %w", account, err)
	}
	iterator, err := consumer.Messages(jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return fmt.Errorf("watching the links of %q: %w", account, err)
	}
	defer iterator.Stop()
	for {
		msg, err := iterator.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		stored, err := fromMessage[Links](msg)
		if err != nil {
			continue
		}
		if err := fn(stored); err != nil {
			return err
		}
	}
}

// orderedLinks returns a consumer of the links of an account. From now on it
// starts at a sequence and not at "new": one that the client resets before its
// first message would begin at a later "new" than the first one. Where the stream
// ends a consumer at "new" tells, for a subscriber may not ask the stream.
func (c *Client) orderedLinks(
	ctx context.Context, account string, options WatchOptions,
) (jetstream.Consumer, error) {
	config := jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{linksSubjects + account + ".*"},
		DeliverPolicy:  jetstream.DeliverAllPolicy,
	}
	if options.FromNow {
		probe := config
		probe.DeliverPolicy, probe.InactiveThreshold = jetstream.DeliverNewPolicy, time.Second
		consumer, err := c.js.OrderedConsumer(ctx, LinksStream, probe)
		if err != nil {
			return nil, err
		}
		config.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
		config.OptStartSeq = consumer.CachedInfo().Delivered.Stream + 1
	}
	return c.js.OrderedConsumer(ctx, LinksStream, config)
}

// fromMessage decodes what a consumer delivered.
func fromMessage[T Data](msg jetstream.Msg) (Stored[T], error) {
	meta, err := msg.Metadata()
	if err != nil {
		return Stored[T]{}, fmt.Errorf("%w: not delivered by a stream", ErrInvalid)
	}
	return decodeStored[T](raw{
		subject:  msg.Subject(),
		data:     msg.Data(),
		sequence: meta.Sequence.Stream,
		storedAt: meta.Timestamp,
	})
}
