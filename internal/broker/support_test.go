package broker_test

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/store"
	"roomlink/messages"
)

// config returns the configuration of a broker in a directory, on a free port.
func config(dir string, subscribers ...broker.Subscriber) broker.EmbeddedConfig {
	return broker.EmbeddedConfig{
		Dir: dir, Sync: time.Minute, Listen: "127.0.0.1:0", Subscribers: subscribers, Logger: zerolog.New(io.Discard),
	}
}

func embed(t *testing.T, c broker.EmbeddedConfig) *broker.Broker {
	t.Helper()
	b, err := broker.Embed(roomlinktest.Context(t), c)
	if err != nil {
		t.Fatalf("embedding a broker: %v", err)
	}
	t.Cleanup(b.Close)
	return b
}

// fixture is a broker with streams and its data directory.
type fixture struct {
	*broker.Broker
	dir   string
	parts *store.Store
}

func newFixture(t *testing.T, subscribers ...broker.Subscriber) fixture {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	b := roomlinktest.StartBrokerWith(t, config(dir, subscribers...), store.StreamSettings{})
	return fixture{b, dir, roomlinktest.Store(t, b)}
}

// userClient is a connection over TCP with the errors of the broker.
type userClient struct {
	*store.Store
	nc      *nats.Conn
	refused chan error
}

// user connects as a user of the broker, with the password from its file.
func (f fixture) user(t *testing.T, name string, options ...nats.Option) userClient {
	t.Helper()
	return connectUser(t, f.Address(), name, f.password(t, name), options...)
}

// connectUser connects as a user over TCP.
func connectUser(t *testing.T, url, name string, password secret.String, options ...nats.Option) userClient {
	t.Helper()
	refused := make(chan error, 256)
	options = append([]nats.Option{
		nats.UserInfo(name, password.Reveal()),
		nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }),
	}, options...)
	nc, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatalf("connecting as %q: %v", name, err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatalf("connecting as %q: %v", name, err)
	}
	return userClient{store.New(js), nc, refused}
}

// password reads the password file of a user.
func (f fixture) password(t *testing.T, name string) secret.String {
	t.Helper()
	file := broker.OperatorPassword(f.dir)
	if strings.Contains(name, "@") {
		file = broker.SubscriberPassword(f.dir, name)
	}
	password, err := secret.ReadFile(file)
	if err != nil {
		t.Fatalf("reading the password of %q: %v", name, err)
	}
	return password
}

func conversation(account, id string) messages.Conversation {
	return messages.Conversation{Account: account, InteractionID: id}
}

// publishLinks stores the first links of a conversation.
func publishLinks(t *testing.T, client *store.Store, account, id string) {
	t.Helper()
	links := roomlinktest.Links(id, 1)
	links.Data.Account = account
	roomlinktest.PublishLinks(t, client, links, 0)
}

// publishDeadLetter stores the dead letter of an event.
func publishDeadLetter(t *testing.T, client *store.Store, account, id string) {
	t.Helper()
	started := roomlinktest.Started(id)
	started.Data.Account = account
	original, err := started.Encode()
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	roomlinktest.PublishDeadLetter(t, client, messages.NewEvent(roomlinktest.Noon, messages.DeadLetter{
		Conversation: messages.Conversation{Account: account, InteractionID: id}, Reason: messages.ReasonRejected, Attempts: 1, Event: original,
	}))
}
