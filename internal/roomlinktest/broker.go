package roomlinktest

import (
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/store"
)

// StartBroker runs a broker with the streams until the test ends. The broker does not
// sync every write, because a test needs no protection from a power cut.
func StartBroker(tb testing.TB, accounts ...string) *broker.Broker {
	tb.Helper()
	return StartBrokerWith(tb, broker.EmbeddedConfig{
		Dir: tb.TempDir(), Sync: time.Minute, Listen: "127.0.0.1:0", Accounts: accounts,
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

// setPasswords sets the variables of deploy/nats.conf. Parallel tests cannot use Setenv.
var setPasswords = sync.OnceFunc(func() {
	for _, user := range []string{"", "OPERATOR_", "SUBSCRIBER_"} {
		_ = os.Setenv("ROOMLINK_NATS_"+user+"PASSWORD", "invented"+user)
	}
})

// StartDeployedServer runs a server with the configuration in deploy until the test ends. Its
// passwords are "invented", "inventedOPERATOR_" and "inventedSUBSCRIBER_". root is the path of
// the module.
func StartDeployedServer(tb testing.TB, root string) *server.Server {
	tb.Helper()
	setPasswords()
	options, err := server.ProcessConfigFile(filepath.Join(root, "deploy", "nats.conf"))
	if err != nil {
		tb.Fatalf("reading the configuration: %v", err)
	}
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

// Connect opens a connection to the broker. The connection closes with the broker.
func Connect(tb testing.TB, b *broker.Broker) jetstream.JetStream {
	tb.Helper()
	js, err := b.Connect("test")
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
