package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

// Defaults of [StreamSettings].
const (
	DefaultMaxBytes          = 1 << 30
	DefaultDuplicateWindow   = 2 * time.Minute
	DefaultLinksMaxAge       = 30 * 24 * time.Hour
	DefaultDeadLettersMaxAge = 30 * 24 * time.Hour
)

// AckWait is the time after which the broker delivers an event again, unless its
// worker keeps it alive.
const AckWait = 5 * time.Second

const (
	managedKey   = "roomlink"
	managedValue = "managed"
)

// isManaged reports whether a stream or a subscriber's consumer has roomlink's mark.
func isManaged(metadata map[string]string) bool { return metadata[managedKey] == managedValue }

// StreamSettings are the operator's choices for the streams. A zero field means the
// default for a new stream, and no change for an existing one: processes with different
// settings must not undo each other's.
type StreamSettings struct {
	// Replicas of each stream. The default is NewReplicas.
	Replicas int
	// NewReplicas is the number of replicas of a new stream if Replicas is 0. The default
	// is 1.
	NewReplicas int
	// MaxBytes bounds the queue of conversations. The default is [DefaultMaxBytes].
	MaxBytes int64
	// DuplicateWindow is the time for which the broker remembers the message id of an
	// event. The default is [DefaultDuplicateWindow].
	DuplicateWindow time.Duration
	// LinksMaxAge is the time for which links are kept. The default is
	// [DefaultLinksMaxAge].
	LinksMaxAge time.Duration
	// DeadLettersMaxAge is the time for which dead letters are kept. The default is
	// [DefaultDeadLettersMaxAge].
	DeadLettersMaxAge time.Duration
}

// QueueSize returns the maximum size of the queue of conversations, in bytes.
func (s StreamSettings) QueueSize() int64 { return cmp.Or(s.MaxBytes, DefaultMaxBytes) }

// Streams returns the configuration of the three streams.
func (s StreamSettings) Streams() []jetstream.StreamConfig {
	window := cmp.Or(s.DuplicateWindow, DefaultDuplicateWindow)
	linksAge := cmp.Or(s.LinksMaxAge, DefaultLinksMaxAge)
	lettersAge := cmp.Or(s.DeadLettersMaxAge, DefaultDeadLettersMaxAge)
	streams := []jetstream.StreamConfig{{
		Name:                 messages.ConversationsStream,
		Description:          "events that wait for their room",
		Subjects:             []string{messages.EventSubjects + "*.*"},
		Retention:            jetstream.WorkQueuePolicy,
		MaxBytes:             s.QueueSize(),
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		Duplicates:           window,
		AllowAtomicPublish:   true,
	}, {
		Name:               messages.LinksStream,
		Description:        "the links of each conversation",
		Subjects:           []string{messages.LinksSubjects + "*.*"},
		MaxBytes:           -1,
		MaxAge:             linksAge,
		Duplicates:         min(window, linksAge),
		AllowDirect:        true,
		AllowAtomicPublish: true,
		RePublish:          republished(messages.LinksSubjects, messages.LiveSubjects),
	}, {
		Name:        messages.DeadLettersStream,
		Description: "events that got no links, and why",
		Subjects:    []string{messages.DeadLetterSubjects + "*.*"},
		MaxBytes:    -1,
		MaxAge:      lettersAge,
		Duplicates:  min(DefaultDuplicateWindow, lettersAge),
		AllowDirect: true,
		RePublish:   republished(messages.DeadLetterSubjects, messages.FailedSubjects),
	}}
	for i := range streams {
		stream := &streams[i]
		stream.Replicas = cmp.Or(s.Replicas, s.NewReplicas, 1)
		stream.MaxMsgs, stream.MaxMsgsPerSubject = -1, 1
		stream.Metadata = map[string]string{managedKey: managedValue}
	}
	return streams
}

// republished publishes each stored message once more under other subjects.
func republished(from, to string) *jetstream.RePublish {
	return &jetstream.RePublish{Source: from + "*.*", Destination: to + "{{wildcard(1)}}.{{wildcard(2)}}"}
}

// ConsumerName returns the name of an account's durable consumer on
// [messages.ConversationsStream].
func ConsumerName(account string) string { return consumerPrefix + account }

const consumerPrefix = "rooms-"

// ConsumerConfig returns the configuration of an account's durable consumer. A worker
// bounds the events that it pulls, so the broker limits neither deliveries nor pending
// acknowledgements.
func ConsumerConfig(account string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       ConsumerName(account),
		Description:   "the workers of account " + account,
		FilterSubject: messages.EventSubjects + account + ".*",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       AckWait,
		MaxDeliver:    -1,
		MaxAckPending: -1,
		MaxWaiting:    2048,
	}
}

// ErrNotPermitted reports that the broker's user may not make a stream or a consumer.
var ErrNotPermitted = errors.New("the broker's user has no permission for this")

// Provision creates the missing streams, and updates the streams that roomlink created.
// A stream without roomlink's mark in its metadata is an administrator's own: Provision
// leaves it alone. Any number of processes may call it at once. It returns an error that
// wraps [ErrNotPermitted] for a change that the user may not make. Other errors are the
// broker's.
func Provision(ctx context.Context, js jetstream.JetStream, settings StreamSettings) error {
	return unlessRefused(ctx, js.Conn(), func(ctx context.Context) error {
		for _, want := range settings.Streams() {
			if err := provisionStream(ctx, js, want, settings); err != nil {
				return fmt.Errorf("providing stream %q: %w", want.Name, err)
			}
		}
		return nil
	})
}

// MissingStreams returns the names of the streams that do not exist. Its errors are the broker's.
func MissingStreams(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	missing, err := missingStreams(ctx, js, StreamSettings{})
	var names []string
	for _, config := range missing {
		names = append(names, config.Name)
	}
	return names, err
}

func missingStreams(
	ctx context.Context, js jetstream.JetStream, settings StreamSettings,
) (missing []jetstream.StreamConfig, err error) {
	for _, want := range settings.Streams() {
		_, err := js.Stream(ctx, want.Name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			missing = append(missing, want)
		case err != nil:
			return nil, fmt.Errorf("reading stream %q: %w", want.Name, err)
		}
	}
	return missing, nil
}

// refusalInterval is the interval at which unlessRefused looks for a refusal.
const refusalInterval = 20 * time.Millisecond

// unlessRefused ends a call when the broker refuses one of its requests. The broker does not
// answer such a request: it reports the refusal to the connection.
func unlessRefused(ctx context.Context, nc *nats.Conn, call func(context.Context) error) error {
	before := nc.LastError()
	refused := func() bool {
		last := nc.LastError()
		return last != before && errors.Is(last, nats.ErrPermissionViolation) //nolint:errorlint // an equal one is new
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(refusalInterval)
		defer ticker.Stop()
		for !refused() {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
		cancel()
	})
	err := call(ctx)
	cancel()
	watching.Wait()
	if err != nil && refused() {
		return fmt.Errorf("%w: %w", ErrNotPermitted, nc.LastError())
	}
	return err
}

// ProvisionStream is [Provision] for one of the streams.
func ProvisionStream(ctx context.Context, js jetstream.JetStream, settings StreamSettings, name string) error {
	for _, want := range settings.Streams() {
		if want.Name == name {
			if err := provisionStream(ctx, js, want, settings); err != nil {
				return fmt.Errorf("providing stream %q: %w", name, err)
			}
		}
	}
	return nil
}

func provisionStream(
	ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, settings StreamSettings,
) error {
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, want)
		if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return err
		}
		// Another process created it first, perhaps with other settings.
		stream, err = js.Stream(ctx, want.Name)
	}
	if err != nil {
		return err
	}
	have := stream.CachedInfo().Config
	if !isManaged(have.Metadata) {
		return nil
	}
	next := settings.merge(have, want)
	if reflect.DeepEqual(have, next) {
		return nil
	}
	_, err = js.UpdateStream(ctx, next)
	return err
}

// merge returns the new configuration of a managed stream: what roomlink defines, what
// the operator set, and the stream's own values for the rest.
func (s StreamSettings) merge(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	next := have
	next.Description = want.Description
	next.Subjects = want.Subjects
	next.MaxMsgs, next.MaxMsgsPerSubject = want.MaxMsgs, want.MaxMsgsPerSubject
	next.MaxMsgSize = min(have.MaxMsgSize, -1)
	next.DiscardNewPerSubject, next.NoAck = want.DiscardNewPerSubject, want.NoAck
	next.Sources, next.SubjectTransform = want.Sources, want.SubjectTransform
	next.AllowDirect = want.AllowDirect
	next.AllowAtomicPublish = want.AllowAtomicPublish
	next.RePublish = want.RePublish
	next.Replicas = cmp.Or(s.Replicas, have.Replicas)
	switch want.Name {
	case messages.ConversationsStream:
		next.Discard, next.MaxAge = want.Discard, want.MaxAge
		next.MaxBytes = cmp.Or(s.MaxBytes, have.MaxBytes)
		next.Duplicates = cmp.Or(s.DuplicateWindow, have.Duplicates)
	case messages.LinksStream:
		if s.LinksMaxAge != 0 {
			next.MaxAge = s.LinksMaxAge
			next.Duplicates = min(next.Duplicates, next.MaxAge)
		}
	case messages.DeadLettersStream:
		if s.DeadLettersMaxAge != 0 {
			next.MaxAge = s.DeadLettersMaxAge
			next.Duplicates = min(next.Duplicates, next.MaxAge)
		}
	}
	return next
}

// ProvisionConsumer creates or updates the durable consumer of an account. It does not touch
// a consumer that is as it should be: with thousands of consumers each update takes the
// broker milliseconds. It returns an error that wraps [ErrTooManyConsumers] if the broker has
// no room for another consumer, and one that wraps [ErrNotPermitted] if the user may not
// make it. Other errors are the broker's.
func ProvisionConsumer(ctx context.Context, js jetstream.JetStream, account string) (jetstream.Consumer, error) {
	want := ConsumerConfig(account)
	consumer, err := js.Consumer(ctx, messages.ConversationsStream, want.Durable)
	if err == nil && sameConsumer(consumer.CachedInfo().Config, want) {
		return consumer, nil
	}
	err = unlessRefused(ctx, js.Conn(), func(ctx context.Context) (err error) {
		consumer, err = js.CreateOrUpdateConsumer(ctx, messages.ConversationsStream, want)
		return err
	})
	if refusal, ok := errors.AsType[*jetstream.APIError](err); ok && refusal.ErrorCode == maximumConsumers {
		err = fmt.Errorf("%w: raise default_max_consumers (in jetstream, limits) in the configuration of NATS, "+
			"and the consumers of the NATS account: %w", ErrTooManyConsumers, err)
	}
	if err != nil {
		return nil, fmt.Errorf("providing consumer %q: %w", want.Durable, err)
	}
	return consumer, nil
}

// Consumer returns the durable consumer of an account on the connection of the store. If it
// is missing, or not as it should be, Consumer provides it with provisioner, a connection that
// may. Its errors are those of [ProvisionConsumer].
func (s *Store) Consumer(
	ctx context.Context, provisioner jetstream.JetStream, account string,
) (jetstream.Consumer, error) {
	have, missing := s.js.Consumer(ctx, messages.ConversationsStream, ConsumerName(account))
	if missing == nil && sameConsumer(have.CachedInfo().Config, ConsumerConfig(account)) {
		return have, nil
	}
	switch _, err := ProvisionConsumer(ctx, provisioner, account); {
	case err == nil:
		return s.js.Consumer(ctx, messages.ConversationsStream, ConsumerName(account))
	case !errors.Is(err, ErrNotPermitted):
		return nil, err
	case missing != nil:
		return nil, fmt.Errorf("%w: run \"roomlink streams apply\", or set ROOMLINK_NATS_PROVISION_USER", err)
	}
	return have, nil
}

// maximumConsumers is the code of the broker's "maximum consumers limit reached".
const maximumConsumers jetstream.ErrorCode = 10026

// sameConsumer reports whether a consumer has the wanted values of the fields that
// [ConsumerConfig] sets.
func sameConsumer(have, want jetstream.ConsumerConfig) bool {
	return have.Durable == want.Durable && have.Description == want.Description &&
		have.FilterSubject == want.FilterSubject && have.AckPolicy == want.AckPolicy &&
		have.AckWait == want.AckWait && have.MaxDeliver == want.MaxDeliver &&
		have.MaxAckPending == want.MaxAckPending && have.MaxWaiting == want.MaxWaiting
}
