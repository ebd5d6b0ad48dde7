package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/accounts"
	"roomlink/messages"
)

// The values of [Finding.State].
const (
	// Present: it is there as roomlink makes it.
	Present = "ok"
	// Missing: it is not there.
	Missing = "missing"
	// Different: roomlink made it, and it is not as roomlink needs it or would make it.
	Different = "differs"
	// Foreign: an administrator made it, and roomlink leaves it alone.
	Foreign = "foreign"
)

// Finding is what there is of a stream or a consumer that roomlink needs.
type Finding struct {
	Stream string `json:"stream"`
	// Consumer is empty for the stream itself.
	Consumer string `json:"consumer,omitempty"`
	// State is [Present], [Missing], [Different] or [Foreign].
	State string `json:"state"`
	// Detail says what is wrong and what to do, or names what [Provision] would change.
	Detail string `json:"detail,omitempty"`
}

// Inspect compares the streams and consumers with those that roomlink needs for some
// accounts, and changes nothing. [Provision], [ProvisionConsumer] and [SyncSubscribers]
// make them. Its errors are the broker's.
func Inspect(
	ctx context.Context, js jetstream.JetStream, settings StreamSettings, all []accounts.Account,
) ([]Finding, error) {
	var findings []Finding
	for _, want := range settings.Streams() {
		finding, err := inspectStream(ctx, js, settings, want)
		if err != nil {
			return nil, fmt.Errorf("inspecting stream %q: %w", want.Name, err)
		}
		findings = append(findings, finding)
		for _, config := range consumersOf(want.Name, all) {
			finding := Finding{Stream: want.Name, Consumer: config.Durable, State: Missing}
			if findings[len(findings)-1].State != Missing {
				if finding, err = inspectConsumer(ctx, js, want.Name, config); err != nil {
					return nil, fmt.Errorf("inspecting consumer %q: %w", config.Durable, err)
				}
			}
			findings = append(findings, finding)
		}
	}
	return findings, nil
}

func inspectStream(
	ctx context.Context, js jetstream.JetStream, settings StreamSettings, want jetstream.StreamConfig,
) (Finding, error) {
	finding := Finding{Stream: want.Name, State: Present}
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		finding.State = Missing
		return finding, nil
	}
	if err != nil {
		return finding, err
	}
	have := stream.CachedInfo().Config
	fault := streamFault(have, want)
	if !isManaged(have.Metadata) {
		finding.State, finding.Detail = Foreign, fault
		return finding, nil
	}
	finding.differs(cmp.Or(fault, strings.Join(changedFields(have, settings.merge(have, want)), ", ")))
	return finding, nil
}

// differs notes what differs, if there is any.
func (f *Finding) differs(detail string) {
	if detail != "" {
		f.State, f.Detail = Different, detail
	}
}

// changedFields names the fields of a stream's configuration that differ, as in JSON.
func changedFields(have, next jetstream.StreamConfig) (names []string) {
	a, b := reflect.ValueOf(have), reflect.ValueOf(next)
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, strings.ReplaceAll(name, "_", " "))
		}
	}
	return names
}

// consumersOf returns the consumers that roomlink needs on a stream.
func consumersOf(stream string, all []accounts.Account) (configs []jetstream.ConsumerConfig) {
	for _, account := range all {
		if stream == messages.ConversationsStream {
			configs = append(configs, ConsumerConfig(account.Name))
		}
		for _, s := range account.Subscribers {
			if config, ok := subscriberConsumers(account.Name, s)[stream]; ok {
				configs = append(configs, config)
			}
		}
	}
	return configs
}

func inspectConsumer(
	ctx context.Context, js jetstream.JetStream, stream string, want jetstream.ConsumerConfig,
) (Finding, error) {
	finding := Finding{Stream: stream, Consumer: want.Durable, State: Present}
	consumer, err := js.Consumer(ctx, stream, want.Durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		finding.State = Missing
		return finding, nil
	}
	if err != nil {
		return finding, err
	}
	have, fault := consumer.CachedInfo(), ""
	switch subscribers := isManaged(want.Metadata); {
	case !subscribers:
		fault = consumerFault(have, want)
	case !isManaged(have.Config.Metadata):
		finding.State = Foreign
		return finding, nil
	}
	finding.differs(cmp.Or(fault, strings.Join(consumerChanges(have.Config, want), ", ")))
	return finding, nil
}
