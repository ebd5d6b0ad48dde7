package app

import (
	"context"
	"time"

	"roomlink/internal/store"
)

// StreamsSettings select the broker whose streams a command inspects or makes.
type StreamsSettings struct {
	ConnectionSettings
	AccountSettings
	StreamSettings
}

// Inspect compares the streams and consumers of the broker with those that roomlink needs.
// If apply is set, it makes them first.
func (s StreamsSettings) Inspect(ctx context.Context, env Environment, apply bool) ([]store.Finding, error) {
	reader := &accountReader{env: env, settings: s.AccountSettings}
	all, err := reader.read()
	if err != nil {
		return nil, UsageError{err}
	}
	connect := s.Connect
	if apply {
		connect = s.ConnectProvisioner
	}
	connected, disconnect, err := connect(ctx, env)
	if err != nil {
		return nil, err
	}
	defer disconnect()
	ctx, cancel := context.WithTimeout(ctx, subscribersTimeout)
	defer cancel()
	js, settings := connected.JetStream(), s.stream(s.NATSURL == "")
	if apply {
		if err := store.Provision(ctx, js, settings); err != nil {
			return nil, err
		}
		for _, account := range all {
			if _, err := store.ProvisionConsumer(ctx, js, account.Name); err != nil {
				return nil, err
			}
		}
		if err := store.SyncSubscribers(ctx, js, all, time.Now()); err != nil {
			return nil, err
		}
	}
	return store.Inspect(ctx, js, settings, all)
}
