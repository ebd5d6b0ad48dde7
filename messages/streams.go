package messages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The streams.
const (
	// ConversationsStream is the work queue of events that ask for a room.
	ConversationsStream = "ROOMLINK_CONVERSATIONS"
	// LinksStream keeps the last links of every conversation.
	LinksStream = "ROOMLINK_LINKS"
	// DeadLettersStream keeps the events that got no links.
	DeadLettersStream = "ROOMLINK_DEAD_LETTERS"
)

// What the subjects of the three streams begin with; the account and the token
// of the interaction id follow.
const (
	eventSubjects      = "roomlink.conversations."
	linksSubjects      = "roomlink.links."
	deadLetterSubjects = "roomlink.deadletters."
)

// Defaults of [StreamSettings].
const (
	DefaultMaxBytes        = 1 << 30
	DefaultDuplicateWindow = 2 * time.Minute
	DefaultLinksMaxAge     = 30 * 24 * time.Hour

	deadLettersMaxAge = 30 * 24 * time.Hour
)

// AckWait is how long a delivered event may go without a sign of life from its
// worker before it is delivered again.
const AckWait = 5 * time.Second

const (
	managedKey   = "roomlink"
	managedValue = "managed"
)

// StreamSettings are what an operator may choose about the streams. A zero
// field means the default for a stream that is made, and what it has for one
// that exists: processes with other settings must not undo each other's.
type StreamSettings struct {
	// Replicas of each stream; NewReplicas by default.
	Replicas int
	// NewReplicas of a stream that is made, unless Replicas is set; 1 by default.
	NewReplicas int
	// MaxBytes bounds the queue of conversations; [DefaultMaxBytes] by default.
	MaxBytes int64
	// DuplicateWindow is how long the broker remembers the message id of an
	// event; [DefaultDuplicateWindow] by default.
	DuplicateWindow time.Duration
	// LinksMaxAge is how long links are kept; [DefaultLinksMaxAge] by default.
	LinksMaxAge time.Duration
}

// Streams returns the configuration of the three streams.
func (s StreamSettings) Streams() []jetstream.StreamConfig {
	metadata := map[string]string{managedKey: managedValue}
	replicas := cmp.Or(s.Replicas, s.NewReplicas, 1)
	window := cmp.Or(s.DuplicateWindow, DefaultDuplicateWindow)
	linksAge := cmp.Or(s.LinksMaxAge, DefaultLinksMaxAge)
	return []jetstream.StreamConfig{{
		Name:                 ConversationsStream,
		Description:          "events that wait for their room",
		Subjects:             []string{eventSubjects + "*.*"},
		Retention:            jetstream.WorkQueuePolicy,
		Storage:              jetstream.FileStorage,
		Replicas:             replicas,
		MaxMsgs:              -1,
		MaxBytes:             cmp.Or(s.MaxBytes, DefaultMaxBytes),
		MaxMsgsPerSubject:    1,
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		Duplicates:           window,
		AllowAtomicPublish:   true,
		Metadata:             maps.Clone(metadata),
	}, {
		Name:               LinksStream,
		Description:        "the links of each conversation",
		Subjects:           []string{linksSubjects + "*.*"},
		Retention:          jetstream.LimitsPolicy,
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		MaxMsgs:            -1,
		MaxBytes:           -1,
		MaxMsgsPerSubject:  1,
		MaxAge:             linksAge,
		Duplicates:         min(window, linksAge),
		AllowDirect:        true,
		AllowAtomicPublish: true,
		Metadata:           maps.Clone(metadata),
	}, {
		Name:              DeadLettersStream,
		Description:       "events that got no links, and why",
		Subjects:          []string{deadLetterSubjects + "*.*"},
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgsPerSubject: 1,
		MaxAge:            deadLettersMaxAge,
		Duplicates:        DefaultDuplicateWindow,
		AllowDirect:       true,
		Metadata:          maps.Clone(metadata),
	}}
}

// ConsumerName is the durable consumer of an account on [ConversationsStream].
func ConsumerName(account string) string { return "rooms-" + account }

// ConsumerConfig returns the durable consumer of an account. What a worker holds
// is bounded by what it pulls, so neither deliveries nor pending
// acknowledgements have a limit of the broker's.
func ConsumerConfig(account string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       ConsumerName(account),
		Description:   "the workers of account " + account,
		FilterSubject: eventSubjects + account + ".*",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       AckWait,
		MaxDeliver:    -1,
		MaxAckPending: -1,
		MaxWaiting:    2048,
	}
}

// Provision makes the three streams where they are missing, and brings those
// that roomlink made to these settings. A stream without our mark in its
// metadata is an administrator's own, and left alone. It may be called by any
// number of processes at once. Its errors are the broker's.
func Provision(ctx context.Context, js jetstream.JetStream, settings StreamSettings) error {
	for _, want := range settings.Streams() {
		if err := provisionStream(ctx, js, want, settings); err != nil {
			return fmt.Errorf("providing stream %q: %w", want.Name, err)
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
		// Another process with other settings made it first.
		stream, err = js.Stream(ctx, want.Name)
	}
	if err != nil {
		return err
	}
	have := stream.CachedInfo().Config
	if have.Metadata[managedKey] != managedValue {
		return nil
	}
	next := settings.merge(have, want)
	if same(have, next) {
		return nil
	}
	_, err = js.UpdateStream(ctx, next)
	return err
}

// merge returns what a managed stream should become: what we define, what the
// operator set, and what it has of all else.
func (s StreamSettings) merge(have, want jetstream.StreamConfig) jetstream.StreamConfig {
	next := have
	next.Description = want.Description
	next.Subjects = want.Subjects
	next.MaxMsgsPerSubject = want.MaxMsgsPerSubject
	next.AllowDirect = want.AllowDirect
	next.AllowAtomicPublish = want.AllowAtomicPublish
	if s.Replicas != 0 {
		next.Replicas = want.Replicas
	}
	switch want.Name {
	case ConversationsStream:
		if s.MaxBytes != 0 {
			next.MaxBytes = want.MaxBytes
		}
		if s.DuplicateWindow != 0 {
			next.Duplicates = want.Duplicates
		}
	case LinksStream:
		if s.LinksMaxAge != 0 {
			next.MaxAge = want.MaxAge
			next.Duplicates = min(next.Duplicates, next.MaxAge)
		}
	}
	return next
}

// same compares what merge may change.
func same(a, b jetstream.StreamConfig) bool {
	return a.Description == b.Description && slices.Equal(a.Subjects, b.Subjects) &&
		a.MaxMsgsPerSubject == b.MaxMsgsPerSubject && a.AllowDirect == b.AllowDirect &&
		a.AllowAtomicPublish == b.AllowAtomicPublish && a.Replicas == b.Replicas &&
		a.MaxBytes == b.MaxBytes && a.Duplicates == b.Duplicates && a.MaxAge == b.MaxAge
}

// ProvisionConsumer makes the durable consumer of an account where it is
// missing, and returns it. Its errors are the broker's.
func ProvisionConsumer(ctx context.Context, js jetstream.JetStream, account string) (jetstream.Consumer, error) {
	consumer, err := js.CreateOrUpdateConsumer(ctx, ConversationsStream, ConsumerConfig(account))
	if err != nil {
		return nil, fmt.Errorf("providing consumer %q: %w", ConsumerName(account), err)
	}
	return consumer, nil
}
