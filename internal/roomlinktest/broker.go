package roomlinktest

import (
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/store"
)

// StartBroker runs a broker with the streams for the length of a test or benchmark.
// Tests need no power cut, so its store is not synced on every write.
func StartBroker(tb testing.TB, accounts ...string) *broker.Broker {
	tb.Helper()
	return StartBrokerWith(tb, broker.EmbeddedConfig{
		Dir: tb.TempDir(), Sync: time.Minute, Listen: "127.0.0.1:0", Accounts: accounts,
	}, store.StreamSettings{})
}

// StartBrokerWith runs a broker with a configuration of the test's own.
func StartBrokerWith(
	tb testing.TB, config broker.EmbeddedConfig, settings store.StreamSettings,
) *broker.Broker {
	tb.Helper()
	config.Logger = zerolog.New(io.Discard)
	b, err := broker.Embed(tb.Context(), config)
	if err != nil {
		tb.Fatalf("embedding a broker: %v", err)
	}
	tb.Cleanup(b.Close)
	if err := store.Provision(tb.Context(), Connect(tb, b), settings); err != nil {
		tb.Fatalf("provisioning: %v", err)
	}
	return b
}

// Connect opens a connection that ends with the broker.
func Connect(tb testing.TB, b *broker.Broker) jetstream.JetStream {
	tb.Helper()
	js, err := b.Connect("test")
	if err != nil {
		tb.Fatalf("connecting: %v", err)
	}
	return js
}

// Client returns a client of the messages on a connection of its own.
func Client(tb testing.TB, b *broker.Broker) *store.Store {
	tb.Helper()
	return store.New(Connect(tb, b))
}

// Stream opens a stream.
func Stream(tb testing.TB, client *store.Store, name string) jetstream.Stream {
	tb.Helper()
	stream, err := client.JetStream().Stream(Context(tb), name)
	if err != nil {
		tb.Fatalf("opening stream %q: %v", name, err)
	}
	return stream
}
