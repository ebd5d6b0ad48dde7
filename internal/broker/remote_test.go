package broker_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
)

// lines receives the lines of a log.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// dialled is the result of Dial.
type dialled struct {
	broker *broker.Broker
	err    error
}

// dial dials in the background. The log receives a line for each failed attempt.
func dial(ctx context.Context, c broker.RemoteConfig) (<-chan dialled, lines) {
	log := make(lines, 64)
	c.Logger = zerolog.New(log)
	done := make(chan dialled, 1)
	go func() {
		b, err := broker.Dial(ctx, c)
		done <- dialled{b, err}
	}()
	return done, log
}

func TestDialWaitsForBroker(t *testing.T) {
	dir := t.TempDir()
	first := fixture{Broker: embed(t, config(dir)), dir: dir}
	password := first.password(t, "operator")
	first.Close()

	address := programtest.FreeAddress(t)
	done, log := dial(roomlinktest.Context(t), broker.RemoteConfig{
		URL: "nats://" + address, Role: broker.RoleOperator, Login: broker.Login{User: "operator", Password: password},
	})
	if line := roomlinktest.Receive(t, log, "an attempt"); !strings.Contains(line, address) || strings.Contains(line, password.Reveal()) {
		t.Errorf("log: got %q, want the address and no password", line)
	}
	c := config(dir)
	c.Listen = address
	embed(t, c)
	got := roomlinktest.Receive(t, done, "the broker")
	if got.err != nil {
		t.Fatalf("dialling: got error %v, want none", got.err)
	}
	defer got.broker.Close()
	if got.broker.Embedded() || got.broker.Address() != "nats://"+address {
		t.Errorf("broker: got %q, embedded %t, want %q, false", got.broker.Address(), got.broker.Embedded(), "nats://"+address)
	}
	if err := got.broker.Health(); err != nil {
		t.Errorf("health: got error %v, want none", err)
	}
}

func TestDialEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(roomlinktest.Context(t))
	stopped := errors.New("stopped")
	done, log := dial(ctx, broker.RemoteConfig{URL: "nats://" + programtest.FreeAddress(t)})
	roomlinktest.Receive(t, log, "an attempt")
	cancel(stopped)
	got := roomlinktest.Receive(t, done, "the end")
	if !errors.Is(got.err, stopped) || !errors.Is(got.err, nats.ErrNoServers) || got.broker != nil {
		t.Errorf("dialling: got %v and error %v, want %v with %v", got.broker, got.err, stopped, nats.ErrNoServers)
	}
}

func TestDialReturnsPermanentErrors(t *testing.T) {
	f := newFixture(t)
	missing := filepath.Join(t.TempDir(), "missing")
	for what, test := range map[string]struct {
		config broker.RemoteConfig
		want   error
	}{
		"wrong password":      {broker.RemoteConfig{Login: broker.Login{User: "operator", Password: "wrong"}}, nats.ErrAuthorization},
		"missing credentials": {broker.RemoteConfig{Login: broker.Login{CredentialsFile: missing}}, fs.ErrNotExist},
		"missing CA file":     {broker.RemoteConfig{CAFile: missing}, fs.ErrNotExist},
		"missing certificate": {broker.RemoteConfig{CertFile: missing, KeyFile: missing}, fs.ErrNotExist},
	} {
		test.config.URL = f.Address()
		done, log := dial(roomlinktest.Context(t), test.config)
		got := roomlinktest.Receive(t, done, "the end")
		if !errors.Is(got.err, test.want) || got.broker != nil || len(log) > 0 {
			t.Errorf("dialling with %s: got %v, error %v after %d attempts, want %v without a failed attempt",
				what, got.broker, got.err, len(log), test.want)
		}
	}
}

func TestDialHidesPasswords(t *testing.T) {
	const word = "invented-password"
	address := programtest.FreeAddress(t)
	ctx, cancel := context.WithCancel(roomlinktest.Context(t))
	done, log := dial(ctx, broker.RemoteConfig{URL: "nats://u:" + word + "@" + address + ",nats://u:" + word + "@" + address})
	line := roomlinktest.Receive(t, log, "an attempt")
	cancel()
	got := roomlinktest.Receive(t, done, "the end")
	if strings.Contains(line, word) || strings.Contains(got.err.Error(), word) {
		t.Errorf("dialling: got %q and error %v, want no password", line, got.err)
	}
	if !strings.Contains(line, "nats://"+address+",nats://"+address) {
		t.Errorf("log: got %q, want both addresses", line)
	}
	for _, url := range []string{"nats://u:" + word + "@host:port", "nats://u:" + word + " @host:4222", "://u:" + word + "@host"} {
		_, err := broker.Dial(roomlinktest.Context(t), broker.RemoteConfig{URL: url})
		if err == nil || strings.Contains(err.Error(), word) {
			t.Errorf("dialling a bad address: got error %v, want one without password", err)
		}
	}
	f := newFixture(t)
	b, err := broker.Dial(roomlinktest.Context(t), broker.RemoteConfig{Role: broker.RoleOperator, URL: strings.Replace(f.Address(), "//",
		"//operator:"+f.password(t, "operator").Reveal()+"@", 1)})
	if err != nil {
		t.Fatalf("dialling with a password in the address: %v", err)
	}
	defer b.Close()
	if b.Address() != f.Address() {
		t.Errorf("address: got %q, want %q", b.Address(), f.Address())
	}
}

// While the broker is unreachable, a publish fails immediately.
func TestPublishIsNotBuffered(t *testing.T) {
	f := newFixture(t)
	operator := f.operator(t)
	lost := make(chan struct{})
	nc := operator.JetStream().Conn()
	signal := sync.OnceFunc(func() { close(lost) })
	nc.SetDisconnectErrHandler(func(*nats.Conn, error) { signal() })
	f.Close()
	roomlinktest.Receive(t, lost, "the end of the connection")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := operator.Publish(ctx, roomlinktest.Started("a")); err == nil || ctx.Err() != nil {
		t.Errorf("publishing: got error %v, want one before the timeout", err)
	}
}
