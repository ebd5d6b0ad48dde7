package roomlinktest

import (
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/secret"
	"roomlink/internal/store"
)

// StartBroker runs a broker with the streams until the test ends. The broker does not
// sync every write, because a test needs no protection from a power cut.
func StartBroker(tb testing.TB, subscribers ...broker.Subscriber) *broker.Broker {
	tb.Helper()
	return StartBrokerWith(tb, broker.EmbeddedConfig{
		Dir: tb.TempDir(), Sync: time.Minute, Listen: "127.0.0.1:0", Subscribers: subscribers,
	}, store.StreamSettings{})
}

// StartBrokerWith runs a broker with the streams and the given configuration until the
// test ends.
func StartBrokerWith(
	tb testing.TB, config broker.EmbeddedConfig, settings store.StreamSettings,
) *broker.Broker {
	tb.Helper()
	config.Logger = zerolog.New(io.Discard)
	b, err := broker.Embed(tb.Context(), config)
	if err != nil {
		tb.Fatalf("starting a broker: %v", err)
	}
	tb.Cleanup(b.Close)
	if err := store.Provision(tb.Context(), Connect(tb, b), settings); err != nil {
		tb.Fatalf("provisioning the streams: %v", err)
	}
	return b
}

// DeployedLogin returns the login of a role at a server of [StartDeployedServer].
func DeployedLogin(role broker.Role) broker.Login {
	return broker.Login{User: string(role), Password: secret.String("invented-" + role)}
}

// DeployedConfig returns the configuration that "roomlink nats config" prints, for a server
// with subscribers. The passwords of the parts are those of [DeployedLogin].
func DeployedConfig(tb testing.TB, subscribers ...broker.Subscriber) string {
	tb.Helper()
	config := broker.ServerConfig{
		Listen: "127.0.0.1:4222", HTTP: "127.0.0.1:8222", StoreDir: "/data",
		Passwords: map[broker.Role]secret.String{}, Subscribers: subscribers,
	}
	for _, role := range broker.ExternalRoles() {
		config.Passwords[role] = DeployedLogin(role).Password
	}
	text, err := config.Text()
	if err != nil {
		tb.Fatalf("making the configuration: %v", err)
	}
	return text
}

// StartDeployedServer runs a server with [DeployedConfig] until the test ends.
func StartDeployedServer(tb testing.TB, subscribers ...broker.Subscriber) *server.Server {
	tb.Helper()
	options := &server.Options{}
	if err := options.ProcessConfigString(DeployedConfig(tb, subscribers...)); err != nil {
		tb.Fatalf("reading the configuration: %v", err)
	}
	return runServer(tb, options)
}

// StartServer runs a NATS server with JetStream and without users until the test ends.
func StartServer(tb testing.TB) *server.Server {
	tb.Helper()
	return runServer(tb, &server.Options{JetStream: true})
}

// runServer runs a server on a free port with a new store until the test ends.
func runServer(tb testing.TB, options *server.Options) *server.Server {
	tb.Helper()
	options.Host, options.Port, options.HTTPPort = "127.0.0.1", server.RANDOM_PORT, 0
	options.StoreDir, options.NoSigs, options.NoLog = tb.TempDir(), true, true
	options.SyncAlways = false // the power does not fail
	srv, err := server.NewServer(options)
	if err != nil {
		tb.Fatalf("making the server: %v", err)
	}
	srv.Start()
	tb.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(Timeout) {
		tb.Fatal("the server is not ready")
	}
	return srv
}

// Connect opens a connection to the broker, with all permissions. The connection closes with the broker.
func Connect(tb testing.TB, b *broker.Broker) jetstream.JetStream {
	tb.Helper()
	js, err := b.Connect(broker.RoleProvisioner, "test")
	if err != nil {
		tb.Fatalf("connecting to the broker: %v", err)
	}
	return js
}

// Store returns a store on a connection of its own.
func Store(tb testing.TB, b *broker.Broker) *store.Store {
	tb.Helper()
	return store.New(Connect(tb, b))
}

// Stream opens a stream.
func Stream(tb testing.TB, s *store.Store, name string) jetstream.Stream {
	tb.Helper()
	stream, err := s.JetStream().Stream(Context(tb), name)
	if err != nil {
		tb.Fatalf("opening stream %q: %v", name, err)
	}
	return stream
}
