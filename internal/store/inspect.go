package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

// Inspection is what [Store.Inspect] found.
type Inspection struct {
	// Faults says for each stream and consumer, by its name, what is wrong and what to do; ""
	// for nothing.
	Faults map[string]string
	// Missing are the streams that do not exist.
	Missing []string
}

// Inspect compares streams, and the durable consumers of accounts, with what roomlink needs. A
// missing consumer is no fault: its worker makes it. The errors of Inspect are the broker's.
func (s *Store) Inspect(ctx context.Context, streams, accounts []string) (Inspection, error) {
	found := Inspection{Faults: map[string]string{}}
	for _, account := range accounts {
		found.Faults[ConsumerName(account)] = ""
	}
	for _, want := range (StreamSettings{}).Streams() {
		if !slices.Contains(streams, want.Name) {
			continue
		}
		stream, err := s.js.Stream(ctx, want.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			found.Missing = append(found.Missing, want.Name)
			found.Faults[want.Name] = "is missing"
			continue
		}
		if err != nil {
			return found, fmt.Errorf("inspecting stream %q: %w", want.Name, s.explain(err))
		}
		found.Faults[want.Name] = streamFault(stream.CachedInfo().Config, want)
		if want.Name == messages.ConversationsStream && len(accounts) > 0 {
			if err := inspectConsumers(ctx, stream, accounts, found.Faults); err != nil {
				return found, fmt.Errorf("inspecting the consumers of stream %q: %w", want.Name, s.explain(err))
			}
		}
	}
	return found, nil
}

func inspectConsumers(ctx context.Context, stream jetstream.Stream, accounts []string, faults map[string]string) error {
	wanted := map[string]jetstream.ConsumerConfig{}
	for _, account := range accounts {
		wanted[ConsumerName(account)] = ConsumerConfig(account)
	}
	consumers := stream.ListConsumers(ctx)
	for have := range consumers.Info() {
		if want, ours := wanted[have.Name]; ours {
			faults[have.Name] = consumerFault(have, want)
		}
	}
	return consumers.Err()
}

// CheckStream returns an error if a stream is missing, or if it is sealed and takes no messages.
// Other errors are the broker's.
func (s *Store) CheckStream(ctx context.Context, name string) error {
	stream, err := s.js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("stream %q is missing", name)
	case err != nil:
		return fmt.Errorf("stream %q: %w", name, s.explain(err))
	case stream.CachedInfo().Config.Sealed:
		return fmt.Errorf("stream %q is sealed and takes no messages", name)
	}
	return nil
}

// property is a property of a stream or a consumer, by NATS' own name.
type property struct {
	name       string
	have, want any
	// fixed means that NATS does not let anybody change it.
	fixed bool
}

// differences returns the differing properties in words. fixed is true if one of them is.
func differences(all []property) (text string, fixed bool) {
	var found []string
	for _, p := range all {
		if !reflect.DeepEqual(p.have, p.want) {
			found = append(found, fmt.Sprintf("%s is %v, not %v", p.name, p.have, p.want))
			fixed = fixed || p.fixed
		}
	}
	return strings.Join(found, ", "), fixed
}

// streamFault compares what matters for a stream. It leaves out what an operator may choose: its
// size, its age, its replicas and its duplicate window.
func streamFault(have, want jetstream.StreamConfig) string {
	queue := want.Name == messages.ConversationsStream
	text, fixed := differences([]property{
		{"sealed", have.Sealed, want.Sealed, true},
		{"retention", have.Retention, want.Retention, true},
		{"storage", have.Storage, want.Storage, true},
		{"deny_delete", have.DenyDelete, want.DenyDelete, true},
		{"deny_purge", have.DenyPurge, want.DenyPurge, true},
		{"mirror", have.Mirror != nil, want.Mirror != nil, true},
		{"sources", len(have.Sources), len(want.Sources), false},
		{"subjects", have.Subjects, want.Subjects, false},
		{"subject_transform", have.SubjectTransform != nil, want.SubjectTransform != nil, false},
		{"republish", text(have.RePublish), text(want.RePublish), false},
		{"max_msgs", max(have.MaxMsgs, 0), max(want.MaxMsgs, 0), false},
		{"max_msgs_per_subject", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject, false},
		{"max_msg_size", max(have.MaxMsgSize, 0), max(want.MaxMsgSize, 0), false},
		{"discard_new_per_subject", have.DiscardNewPerSubject, want.DiscardNewPerSubject, false},
		{"no_ack", have.NoAck, want.NoAck, false},
		{"allow_direct", have.AllowDirect, have.AllowDirect || want.AllowDirect, false},
		{"allow_atomic", have.AllowAtomicPublish, have.AllowAtomicPublish || want.AllowAtomicPublish, false},
	})
	if queue { // an event may neither expire nor be discarded
		more, _ := differences([]property{
			{"discard", have.Discard, want.Discard, false}, {"max_age", have.MaxAge, want.MaxAge, false},
		})
		text = strings.Trim(text+", "+more, ", ")
	}
	switch {
	case text == "":
		return ""
	case fixed:
		return text + ": NATS cannot change that, so save its messages and delete the stream; roomlink makes it again"
	case isManaged(have.Metadata):
		return text + ": a restart of roomlink or \"roomlink streams apply\" changes it back"
	}
	return fmt.Sprintf("%s: change it with \"nats stream edit %s\"", text, want.Name)
}

// text returns how a stream republishes its messages.
func text(republish *jetstream.RePublish) string {
	if republish == nil {
		return "nothing"
	}
	if republish.HeadersOnly {
		return "only the headers"
	}
	return republish.Source + " to " + republish.Destination
}

// consumerFault compares what matters for a consumer.
func consumerFault(info *jetstream.ConsumerInfo, want jetstream.ConsumerConfig) string {
	have := info.Config
	if info.Paused && have.PauseUntil != nil {
		return fmt.Sprintf("is paused until %s, and its account gets no rooms: \"nats consumer resume %s %s\" ends that",
			have.PauseUntil.Format(time.RFC3339), info.Stream, info.Name)
	}
	filters := have.FilterSubjects
	if have.FilterSubject != "" {
		filters = append(filters, have.FilterSubject)
	}
	text, _ := differences([]property{
		{"filter_subjects", filters, []string{want.FilterSubject}, false},
		{"deliver_policy", have.DeliverPolicy, want.DeliverPolicy, false},
		{"ack_policy", have.AckPolicy, want.AckPolicy, false},
		{"ack_wait", have.AckWait, want.AckWait, false},
		{"max_deliver", have.MaxDeliver, want.MaxDeliver, false},
		{"max_ack_pending", have.MaxAckPending, want.MaxAckPending, false},
		{"backoff", len(have.BackOff), len(want.BackOff), false},
		{"headers_only", have.HeadersOnly, want.HeadersOnly, false},
		{"rate_limit_bps", have.RateLimit, want.RateLimit, false},
		{"inactive_threshold", have.InactiveThreshold, want.InactiveThreshold, false},
		{"max_batch", have.MaxRequestBatch, want.MaxRequestBatch, false},
		{"max_expires", have.MaxRequestExpires, want.MaxRequestExpires, false},
	})
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%s: \"nats consumer rm %s %s\" deletes it, and its worker makes it again", text, info.Stream, info.Name)
}
