package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
)

const oldPassword, newPassword = "invented-old", "invented-new"

// external is a NATS server with the user "roomlink".
type external struct {
	*server.Server

	options *server.Options
	// refused receives a value for each refused connection.
	refused refusals
}

// refusals is the log of a server. It keeps only the refusals of connections.
type refusals chan struct{}

func (refusals) Noticef(string, ...any) {}
func (refusals) Warnf(string, ...any)   {}
func (refusals) Fatalf(string, ...any)  {}
func (refusals) Debugf(string, ...any)  {}
func (refusals) Tracef(string, ...any)  {}
func (r refusals) Errorf(format string, v ...any) {
	if strings.Contains(fmt.Sprintf(format, v...), "authentication error") {
		select {
		case r <- struct{}{}:
		default:
		}
	}
}

// startExternal runs a NATS server. change may change its options; it may be nil.
func startExternal(t *testing.T, change func(*server.Options)) *external {
	t.Helper()
	e := &external{refused: make(refusals, 64), options: &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true,
		Username: "roomlink", Password: oldPassword,
	}}
	if change != nil {
		change(e.options)
	}
	e.start(t)
	return e
}

// start starts or restarts the server. A restart keeps the port.
func (e *external) start(t *testing.T) {
	t.Helper()
	srv, err := server.NewServer(e.options.Clone())
	if err != nil {
		t.Fatalf("making a server: %v", err)
	}
	srv.SetLoggerV2(e.refused, false, false, false)
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(roomlinktest.Timeout) {
		t.Fatal("the server is not ready")
	}
	if listening, ok := srv.Addr().(*net.TCPAddr); ok {
		e.options.Port = listening.Port
	}
	e.Server = srv
}

// setPassword changes the password of the user while the server runs.
func (e *external) setPassword(t *testing.T, password string) {
	t.Helper()
	e.options.Password = password
	if err := e.ReloadOptions(e.options.Clone()); err != nil {
		t.Fatalf("reloading: %v", err)
	}
}

// dialExternal connects to a server, and returns a connection of a part.
func dialExternal(t *testing.T, c broker.RemoteConfig) (*broker.Broker, jetstream.JetStream) {
	t.Helper()
	b, err := broker.Dial(roomlinktest.Context(t), c)
	if err != nil {
		t.Fatalf("dialling: %v", err)
	}
	t.Cleanup(b.Close)
	js, err := b.Connect(broker.RoleServe, "messages")
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	return b, js
}

// awaitHealth waits until the health of a broker is as wanted.
func awaitHealth(t *testing.T, b *broker.Broker, what string, wanted func(error) bool) error {
	t.Helper()
	ctx, ticker := roomlinktest.Context(t), time.NewTicker(10*time.Millisecond)
	defer ticker.Stop()
	for {
		err := b.Health()
		if wanted(err) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waiting for %s: got error %v", what, err)
		}
	}
}

func healthy(err error) bool { return err == nil }

// The server refuses the credentials for a while, and then accepts them again.
func TestConnectionSurvivesRefusals(t *testing.T) {
	t.Parallel()
	srv := startExternal(t, nil)
	b, js := dialExternal(t, broker.RemoteConfig{
		URL: srv.ClientURL(), Login: broker.Login{User: "roomlink", Password: oldPassword}, Logger: zerolog.Nop(),
	})
	ended := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- b.Run(ctx) }()

	srv.setPassword(t, newPassword)
	for range 4 { // by default a client gives up after the second
		roomlinktest.Receive(t, srv.refused, "a refusal")
	}
	awaitHealth(t, b, "the refusal in words", func(err error) bool {
		return err != nil && strings.HasSuffix(err.Error(), "(authorization violation)")
	})
	srv.setPassword(t, oldPassword)
	awaitHealth(t, b, "a connection", healthy)
	if _, err := js.AccountInfo(roomlinktest.Context(t)); err != nil {
		t.Errorf("a request after the refusals: got error %v, want none", err)
	}
	stop()
	if err := roomlinktest.Receive(t, ended, "the end of Run"); err != nil {
		t.Errorf("Run: got error %v, want none", err)
	}
}

// The user gets another password, on the server and in the file of the parts.
func TestPasswordRotates(t *testing.T) {
	t.Parallel()
	srv, file := startExternal(t, nil), filepath.Join(t.TempDir(), "password")
	write(t, file, []byte(oldPassword+"\n"))
	b, _ := dialExternal(t, broker.RemoteConfig{
		URL: srv.ClientURL(), Login: broker.Login{User: "roomlink", PasswordFile: file}, Logger: zerolog.Nop(),
	})
	srv.setPassword(t, newPassword)
	roomlinktest.Receive(t, srv.refused, "a refusal")
	remove(t, file) // between the old file and the new one
	roomlinktest.Receive(t, srv.refused, "a refusal without a file")
	write(t, file, []byte(newPassword+"\n"))
	awaitHealth(t, b, "a connection with the new password", healthy)

	missing := filepath.Join(t.TempDir(), "missing")
	_, err := broker.Dial(roomlinktest.Context(t), broker.RemoteConfig{URL: srv.ClientURL(), Login: broker.Login{User: "roomlink", PasswordFile: missing}})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dialling without the file: got error %v, want %v", err, os.ErrNotExist)
	}
}

func TestClosedConnectionEndsRun(t *testing.T) {
	t.Parallel()
	srv := startExternal(t, nil)
	remote, js := dialExternal(t, broker.RemoteConfig{
		URL: srv.ClientURL(), Login: broker.Login{User: "roomlink", Password: oldPassword}, Logger: zerolog.Nop(),
	})
	embedded := newFixture(t)
	for what, test := range map[string]struct {
		b  *broker.Broker
		js jetstream.JetStream
	}{
		srv.ClientURL():       {remote, js},
		"the embedded broker": {embedded.Broker, embedded.parts.JetStream()},
	} {
		ended := make(chan error, 1)
		go func() { ended <- test.b.Run(t.Context()) }()
		test.js.Conn().Close() // nats.go does so for an error that it does not know
		err := roomlinktest.Receive(t, ended, "the end of Run")
		if !errors.Is(err, broker.ErrClosed) || !strings.Contains(err.Error(), "roomlink ") || !strings.Contains(err.Error(), what) {
			t.Errorf("Run: got error %v, want %v that names the connection and %s", err, broker.ErrClosed, what)
		}
	}
}

// While the server is away, every error says since when and why.
func TestLostConnectionInWords(t *testing.T) {
	t.Parallel()
	srv := startExternal(t, nil)
	url := strings.Replace(srv.ClientURL(), "//", "//roomlink:"+oldPassword+"@", 1)
	b, js := dialExternal(t, broker.RemoteConfig{URL: url, Logger: zerolog.Nop()})
	client := store.New(js, store.WithExplanation(func(err error) error { return b.Explain(js, err) }))
	if err := store.Provision(roomlinktest.Context(t), js, store.StreamSettings{}); err != nil {
		t.Fatalf("provisioning: %v", err)
	}
	srv.Shutdown()
	srv.WaitForShutdown()

	sentence := regexp.MustCompile(`not connected to ` + regexp.QuoteMeta(srv.ClientURL()) + ` since \d\d:\d\d:\d\d \(EOF\)$`)
	awaitHealth(t, b, "the sentence", func(err error) bool { return err != nil && sentence.MatchString(err.Error()) })
	_, publishing := client.Publish(roomlinktest.Context(t), roomlinktest.Started("a"))
	_, reading := client.State(roomlinktest.Context(t), roomlinktest.Conversation("a"), time.Now())
	_, measuring := client.StreamState(roomlinktest.Context(t), "ROOMLINK_LINKS")
	for what, err := range map[string]error{"publishing": publishing, "reading": reading, "measuring": measuring} {
		if !errors.Is(err, broker.ErrNotConnected) || !sentence.MatchString(err.Error()) {
			t.Errorf("%s: got error %v, want one that ends as %s", what, err, sentence)
		}
	}

	srv.start(t)
	awaitHealth(t, b, "a connection", healthy)
	late := b.Explain(js, fmt.Errorf("publishing: %w", nats.ErrReconnectBufExceeded))
	if want := regexp.MustCompile(`^not connected to \S+ from \S+ to \S+ \(EOF\)$`); !want.MatchString(late.Error()) {
		t.Errorf("an error from before: got %q, want %s", late, want)
	}
	other := errors.New("another error")
	if got := b.Explain(js, other); !errors.Is(got, other) || errors.Is(got, broker.ErrNotConnected) {
		t.Errorf("another error: got %v, want it as it is", got)
	}
}

// A server that is too old, or that takes no large messages, is refused in one sentence.
func TestUnsuitableServer(t *testing.T) {
	t.Parallel()
	srv := startExternal(t, func(o *server.Options) { o.MaxPayload = 1024 })
	_, err := broker.Dial(roomlinktest.Context(t), broker.RemoteConfig{
		URL: srv.ClientURL(), Login: broker.Login{User: "roomlink", Password: oldPassword}, Logger: zerolog.Nop(),
	})
	if !errors.Is(err, broker.ErrUnsuitable) || !strings.Contains(err.Error(), "1024") || !strings.Contains(err.Error(), "262144") {
		t.Errorf("dialling: got error %v, want %v with both sizes", err, broker.ErrUnsuitable)
	}
}

// The server comes back with another configuration.
func TestServerBecomesUnsuitable(t *testing.T) {
	t.Parallel()
	srv := startExternal(t, nil)
	b, _ := dialExternal(t, broker.RemoteConfig{
		URL: srv.ClientURL(), Login: broker.Login{User: "roomlink", Password: oldPassword}, Logger: zerolog.Nop(),
	})
	srv.Shutdown()
	srv.WaitForShutdown()
	srv.options.MaxPayload = 1024
	srv.start(t)
	awaitHealth(t, b, "the fault", func(err error) bool { return errors.Is(err, broker.ErrUnsuitable) })
	srv.Shutdown()
	srv.WaitForShutdown()
	srv.options.MaxPayload = 1 << 20
	srv.start(t)
	awaitHealth(t, b, "a connection", healthy)
}
