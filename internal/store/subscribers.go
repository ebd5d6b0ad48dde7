package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/accounts"
	"roomlink/messages"
)

// RemovalDelay is the time for which a subscriber that is gone keeps its place.
const RemovalDelay = 24 * time.Hour

const (
	// removedKey is the metadata of a consumer whose subscriber is gone: the time since when.
	removedKey = "roomlink-removed-at"

	subscriberAckWait = 30 * time.Second
	// maxUnacknowledged bounds what the broker delivers to a subscriber that acknowledges
	// nothing.
	maxUnacknowledged = 1000
)

// subscriberStreams are the streams that a subscriber may read, and their subjects.
var subscriberStreams = []struct{ name, subjects string }{
	{messages.LinksStream, messages.LinksSubjects},
	{messages.DeadLettersStream, messages.DeadLetterSubjects},
}

// subscriberConsumers returns the durable consumers of a subscriber by stream: one on
// [messages.LinksStream], and one on [messages.DeadLettersStream] if it may read dead
// letters.
func subscriberConsumers(account string, s accounts.Subscriber) map[string]jetstream.ConsumerConfig {
	consumers := map[string]jetstream.ConsumerConfig{}
	for _, stream := range subscriberStreams {
		if stream.name == messages.DeadLettersStream && !s.DeadLetters {
			continue
		}
		config := jetstream.ConsumerConfig{
			Durable:       messages.DurableName(account, s.Name),
			Description:   fmt.Sprintf("subscriber %s of account %s", s.Name, account),
			DeliverPolicy: jetstream.DeliverNewPolicy,
			AckPolicy:     jetstream.AckExplicitPolicy,
			AckWait:       subscriberAckWait,
			MaxDeliver:    -1,
			FilterSubject: stream.subjects + account + ".*",
			MaxAckPending: maxUnacknowledged,
			Metadata:      map[string]string{managedKey: managedValue},
		}
		if s.From == accounts.FromAll {
			config.DeliverPolicy = jetstream.DeliverAllPolicy
		}
		consumers[stream.name] = config
	}
	return consumers
}

// provideConsumer creates a consumer, or updates it. have is nil if there is none. An existing
// consumer keeps its place: From counts for a new one alone. A consumer without roomlink's mark
// is an administrator's own: provideConsumer leaves it alone.
func provideConsumer(
	ctx context.Context, js jetstream.JetStream, stream string,
	have *jetstream.ConsumerInfo, want jetstream.ConsumerConfig,
) error {
	if have == nil {
		_, err := js.CreateConsumer(ctx, stream, want)
		if errors.Is(err, jetstream.ErrConsumerExists) {
			return nil // another process created it first, perhaps from another place
		}
		return err
	}
	if !isManaged(have.Config.Metadata) || len(consumerChanges(have.Config, want)) == 0 {
		return nil
	}
	next := have.Config
	next.Description, next.FilterSubject, next.FilterSubjects = want.Description, want.FilterSubject, nil
	next.AckWait, next.MaxDeliver, next.MaxAckPending = want.AckWait, want.MaxDeliver, want.MaxAckPending
	next.Metadata = maps.Clone(next.Metadata)
	delete(next.Metadata, removedKey)
	_, err := js.UpdateConsumer(ctx, stream, next)
	return err
}

// consumerChanges names what differs from the configuration of a consumer. Where a
// consumer begins does not count.
func consumerChanges(have, want jetstream.ConsumerConfig) (names []string) {
	for name, differs := range map[string]bool{
		"description":       have.Description != want.Description,
		"filter":            have.FilterSubject != want.FilterSubject || len(have.FilterSubjects) > 0,
		"ack wait":          have.AckWait != want.AckWait,
		"max deliver":       have.MaxDeliver != want.MaxDeliver,
		"max ack pending":   have.MaxAckPending != want.MaxAckPending,
		"marked as removed": have.Metadata[removedKey] != "",
	} {
		if differs {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// SyncSubscribers makes the durable consumers those of the subscribers of all accounts:
// it creates the missing ones and updates the others. It marks a consumer whose
// subscriber is gone, and deletes it 24 h after it was marked. A process that knows the
// subscriber takes the mark away again, so processes with different accounts may share a
// broker. Call it again at times. Any number of processes may call it at once. It goes on
// after an error, and returns all errors; they are the broker's.
func SyncSubscribers(ctx context.Context, js jetstream.JetStream, all []accounts.Account, now time.Time) error {
	var errs []error
	for _, stream := range subscriberStreams {
		errs = append(errs, syncConsumers(ctx, js, stream.name, wantedConsumers(stream.name, all), now))
	}
	return errors.Join(errs...)
}

// wantedConsumers returns the subscribers' consumers on a stream by name.
func wantedConsumers(stream string, all []accounts.Account) map[string]jetstream.ConsumerConfig {
	wanted := map[string]jetstream.ConsumerConfig{}
	for _, account := range all {
		for _, s := range account.Subscribers {
			if config, ok := subscriberConsumers(account.Name, s)[stream]; ok {
				wanted[config.Durable] = config
			}
		}
	}
	return wanted
}

func syncConsumers(
	ctx context.Context, js jetstream.JetStream, stream string,
	wanted map[string]jetstream.ConsumerConfig, now time.Time,
) error {
	found, err := subscribersOf(ctx, js, stream)
	if err != nil {
		return fmt.Errorf("listing the consumers of %q: %w", stream, err)
	}
	var errs []error
	for name, want := range wanted {
		if err := provideConsumer(ctx, js, stream, found[name], want); err != nil {
			errs = append(errs, fmt.Errorf("providing consumer %q on %q: %w", name, stream, err))
		}
	}
	for name, have := range found {
		if _, ok := wanted[name]; ok || !isManaged(have.Config.Metadata) {
			continue
		}
		if err := retireConsumer(ctx, js, stream, have, now); err != nil {
			errs = append(errs, fmt.Errorf("removing consumer %q of %q: %w", name, stream, err))
		}
	}
	return errors.Join(errs...)
}

// retireConsumer marks a consumer whose subscriber is gone, and deletes one that was
// marked long ago.
func retireConsumer(
	ctx context.Context, js jetstream.JetStream, stream string, have *jetstream.ConsumerInfo, now time.Time,
) error {
	since := removedAt(have.Config)
	var err error
	switch {
	case since.IsZero():
		next := have.Config
		next.Metadata = maps.Clone(next.Metadata)
		next.Metadata[removedKey] = now.UTC().Format(time.RFC3339)
		_, err = js.UpdateConsumer(ctx, stream, next)
	case now.Sub(since) >= RemovalDelay:
		err = js.DeleteConsumer(ctx, stream, have.Name)
	}
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrConsumerDoesNotExist) {
		return nil // another process deleted it first
	}
	return err
}

// removedAt returns when the subscriber of a consumer was found to be gone; zero if it
// is not, or if the mark is unreadable.
func removedAt(config jetstream.ConsumerConfig) time.Time {
	at, err := time.Parse(time.RFC3339, config.Metadata[removedKey])
	if err != nil {
		return time.Time{}
	}
	return at
}

// subscribersOf returns the consumers of a stream that have the name of a subscriber's.
func subscribersOf(
	ctx context.Context, js jetstream.JetStream, stream string,
) (map[string]*jetstream.ConsumerInfo, error) {
	handle, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	found := map[string]*jetstream.ConsumerInfo{}
	list := handle.ListConsumers(ctx)
	for info := range list.Info() {
		if strings.Count(info.Name, "_") == 1 {
			found[info.Name] = info
		}
	}
	return found, list.Err()
}

// SubscriberPosition says how far a subscriber is on one stream.
type SubscriberPosition struct {
	Account string `json:"account"`
	Name    string `json:"name"`
	Stream  string `json:"stream"`
	// Waiting is the number of messages that the broker has not delivered yet.
	Waiting uint64 `json:"waiting"`
	// Unacknowledged is the number of messages that were delivered and not acknowledged.
	Unacknowledged int `json:"unacknowledged"`
	// Redelivered is the number of unacknowledged messages that were delivered more than once.
	Redelivered int `json:"redelivered"`
	// Reading is true if the subscriber asks for messages at this moment.
	Reading bool `json:"reading"`
	// LastSeen is when the subscriber last received or acknowledged a message since the
	// broker started; zero if it did not.
	LastSeen time.Time `json:"lastSeen,omitzero"`
	// RemovedAt is since when the subscriber is gone from the configuration; zero if it is
	// there.
	RemovedAt time.Time `json:"removedAt,omitzero"`
}

// Subscribers returns the positions of all subscribers, sorted by account, name and
// stream. Its errors are the broker's.
func (s *Store) Subscribers(ctx context.Context) ([]SubscriberPosition, error) {
	var positions []SubscriberPosition
	for _, stream := range subscriberStreams {
		found, err := subscribersOf(ctx, s.js, stream.name)
		if err != nil {
			return nil, fmt.Errorf("listing the consumers of %q: %w", stream.name, err)
		}
		for _, info := range found {
			if isManaged(info.Config.Metadata) {
				positions = append(positions, positionOf(stream.name, info))
			}
		}
	}
	slices.SortFunc(positions, func(a, b SubscriberPosition) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Name, b.Name), -cmp.Compare(a.Stream, b.Stream))
	})
	return positions, nil
}

func positionOf(stream string, info *jetstream.ConsumerInfo) SubscriberPosition {
	account, name, _ := strings.Cut(info.Name, "_")
	position := SubscriberPosition{
		Account: account, Name: name, Stream: stream,
		Waiting: info.NumPending, Unacknowledged: info.NumAckPending, Redelivered: info.NumRedelivered,
		Reading: info.NumWaiting > 0, RemovedAt: removedAt(info.Config),
	}
	for _, at := range []*time.Time{info.Delivered.Last, info.AckFloor.Last} {
		if at != nil && at.After(position.LastSeen) {
			position.LastSeen = *at
		}
	}
	return position
}

// RemoveSubscriber deletes the durable consumers of a subscriber, and so its place. If
// the subscriber is still configured, the next [SyncSubscribers] makes new ones. It
// returns an error that wraps [messages.ErrNotFound] if there are none. Other errors are
// the broker's.
func (s *Store) RemoveSubscriber(ctx context.Context, account, name string) error {
	durable, deleted := messages.DurableName(account, name), false
	for _, stream := range subscriberStreams {
		consumer, err := s.js.Consumer(ctx, stream.name, durable)
		if err == nil && isManaged(consumer.CachedInfo().Config.Metadata) {
			err = s.js.DeleteConsumer(ctx, stream.name, durable)
			deleted = deleted || err == nil
		}
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("removing consumer %q of %q: %w", durable, stream.name, err)
		}
	}
	if !deleted {
		return &noSubscriberError{account, name}
	}
	return nil
}

// noSubscriberError wraps [messages.ErrNotFound].
type noSubscriberError struct{ account, name string }

func (e *noSubscriberError) Error() string {
	return fmt.Sprintf("account %q has no subscriber %q", e.account, e.name)
}

func (e *noSubscriberError) Unwrap() error { return messages.ErrNotFound }
