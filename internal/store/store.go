// Package store keeps roomlink's messages on JetStream: it provisions the streams,
// publishes events, links and dead letters, reads them back, and reports the state of
// a conversation. Package messages is the contract of what it stores.
//
// # Guarantees
//
// [Store.Publish] returns after the broker acknowledged the event, or after it found
// that the conversation has a waiting event already. [Store.PublishLinks] stores links
// only if nobody stored others since the caller looked. Decisions read the leader of a
// stream; what is only shown may come from any replica.
package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

var (
	// ErrQueueFull reports that the queue of conversations accepts no more events.
	ErrQueueFull = errors.New("the queue of conversations is full")
	// ErrSuperseded reports that somebody stored other links first.
	ErrSuperseded = errors.New("somebody stored other links first")
	// ErrWaiting reports that an event of the conversation waits already.
	ErrWaiting = errors.New("an event of this conversation waits already")
	// ErrTooManyConsumers reports that the broker has no room for another account's
	// consumer.
	ErrTooManyConsumers = errors.New("the broker allows no more consumers")
)

// requestTimeout bounds a read.
const requestTimeout = 5 * time.Second

// Store reads and publishes the messages of roomlink. A request to the broker takes at most
// 5 s: a read always, any other if the context has no deadline. Many goroutines may use a
// store at once.
type Store struct {
	js jetstream.JetStream
	// events and links publish in groups; nil to publish each message alone.
	events, links *committer
	// batches read in groups the streams that allow direct get.
	batches map[string]*batchReader
	// single is true if the streams have one replica. leaderOnly is true if the connection must
	// not use direct get.
	single, leaderOnly bool
	// healthCheck runs before an event is published; nil for none.
	healthCheck func() error
	// explain explains the errors of a lost connection.
	explain func(error) error
	// running counts the goroutines.
	running sync.WaitGroup
}

// Option configures a [Store].
type Option func(*Store)

// WithGroupCommit stores concurrent events and links in groups. On a broker that syncs
// every write, one sync then serves a group. On other brokers it only costs time. A
// message waits until the group before it is stored, so give the context a deadline.
func WithGroupCommit() Option {
	return func(s *Store) { s.events, s.links = newCommitter(s), newCommitter(s) }
}

// WithSingleServer declares that the broker is a single server without replicas. A direct
// get is then never stale, so the store uses it for every read, in groups.
func WithSingleServer() Option { return func(s *Store) { s.single = true } }

// WithoutDirectGet declares that the connection's user has no permission for direct get. The
// store then reads every message from the leader.
func WithoutDirectGet() Option { return func(s *Store) { s.leaderOnly = true } }

// WithHealthCheck makes [Store.Publish] return the error of check, if it returns one, and
// not ask the broker. A broker with a failing disk does not answer, and every caller
// would wait. check runs for every event, so it must be fast.
func WithHealthCheck(check func() error) Option { return func(s *Store) { s.healthCheck = check } }

// WithExplanation makes explain say in plain words what an error of the connection means.
func WithExplanation(explain func(error) error) Option {
	return func(s *Store) { s.explain = explain }
}

// New returns a store on a connection. The connection stays the caller's.
func New(js jetstream.JetStream, options ...Option) *Store {
	s := &Store{js: js, explain: func(err error) error { return err }}
	s.batches = map[string]*batchReader{
		messages.LinksStream:       {js: js, stream: messages.LinksStream, running: &s.running},
		messages.DeadLettersStream: {js: js, stream: messages.DeadLettersStream, delay: deadLetterDelay, running: &s.running},
	}
	for _, option := range options {
		option(s)
	}
	return s
}

// Close waits for background work. Call it after all other methods returned.
func (s *Store) Close() { s.running.Wait() }

// Explain returns err in the words of [WithExplanation]. The methods of the store do that by
// themselves; use it for what you do with [Store.JetStream].
func (s *Store) Explain(err error) error { return s.explain(err) }

// JetStream returns the connection that [New] got.
func (s *Store) JetStream() jetstream.JetStream { return s.js }

// Links returns the latest links of a conversation. It returns an error that wraps
// [messages.ErrNotFound] if there are none, and an error that wraps
// [messages.ErrInvalid] for an impossible conversation. For stored links that break the
// contract it returns an error that wraps [messages.ErrInvalid], and their sequence.
// Other errors are the broker's or the context's.
func (s *Store) Links(
	ctx context.Context, conversation messages.Conversation, from Consistency,
) (messages.Stored[messages.Links], error) {
	return last[messages.Links](ctx, s, messages.LinksStream, conversation, from)
}

// DeadLetter returns the dead letter of a conversation. Its errors are those of
// [Store.Links].
func (s *Store) DeadLetter(
	ctx context.Context, conversation messages.Conversation, from Consistency,
) (messages.Stored[messages.DeadLetter], error) {
	return last[messages.DeadLetter](ctx, s, messages.DeadLettersStream, conversation, from)
}

// Waiting returns the event of a conversation that waits for its room or that a worker
// holds. Its errors are those of [Store.Links].
func (s *Store) Waiting(
	ctx context.Context, conversation messages.Conversation,
) (messages.Stored[messages.Started], error) {
	return last[messages.Started](ctx, s, messages.ConversationsStream, conversation, Leader)
}

// waitingSince returns the time at which the waiting event of a conversation was stored,
// even if the event is unreadable. It returns the zero time if no event waits.
func (s *Store) waitingSince(ctx context.Context, conversation messages.Conversation) (time.Time, error) {
	m, err := s.readLast(ctx, messages.ConversationsStream, conversation.EventSubject(), Leader)
	if errors.Is(err, messages.ErrNotFound) {
		return time.Time{}, nil
	}
	return m.Time, err
}

func last[T messages.Data](
	ctx context.Context, s *Store, stream string, conversation messages.Conversation, from Consistency,
) (messages.Stored[T], error) {
	if err := conversation.Validate(); err != nil {
		return messages.Stored[T]{}, err
	}
	m, err := s.readLast(ctx, stream, subjectOf[stream](conversation), from)
	if err != nil {
		return messages.Stored[T]{}, err
	}
	return messages.DecodeStored[T](m)
}

// subjectOf returns the subject of a conversation, by stream.
var subjectOf = map[string]func(messages.Conversation) string{
	messages.ConversationsStream: messages.Conversation.EventSubject,
	messages.LinksStream:         messages.Conversation.LinksSubject,
	messages.DeadLettersStream:   messages.Conversation.DeadLetterSubject,
}
