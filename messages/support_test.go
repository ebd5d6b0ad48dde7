package messages_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// other is an account whose messages no subscriber of [roomlinktest.Account] may see.
const other = "other"

// site is a server on which subscribers of [roomlinktest.Account] have their permissions:
// crm may read dead letters, board may not.
type site struct {
	address string
	store   *store.Store
}

func newSite(t *testing.T) site {
	t.Helper()
	b := roomlinktest.StartBroker(t,
		broker.Subscriber{Account: roomlinktest.Account, Name: "crm", Password: "crm's password", DeadLetters: true},
		broker.Subscriber{Account: roomlinktest.Account, Name: "board", Password: "board's password"},
		broker.Subscriber{Account: other, Name: "crm", Password: "their password", DeadLetters: true})
	s := site{strings.TrimPrefix(b.Address(), "nats://"), roomlinktest.Store(t, b)}
	ctx, js := roomlinktest.Context(t), s.store.JetStream()
	err := store.SyncSubscribers(ctx, js, []accounts.Account{
		{Name: roomlinktest.Account, Subscribers: []accounts.Subscriber{
			{Name: "crm", DeadLetters: true, From: accounts.FromAll}, {Name: "board", From: accounts.FromAll},
		}},
		{Name: other, Subscribers: []accounts.Subscriber{{Name: "crm", DeadLetters: true}}},
	}, time.Now())
	if err != nil {
		t.Fatalf("provisioning: %v", err)
	}
	return s
}

// subscriber connects as a subscriber. The channel gets the errors that it did not expect.
func (s site) subscriber(t *testing.T, name string) (*messages.Subscriber, <-chan error) {
	t.Helper()
	return subscribe(t, s.address, name)
}

func subscribe(t *testing.T, address, name string) (*messages.Subscriber, <-chan error) {
	t.Helper()
	unexpected := make(chan error, 64)
	return messages.NewSubscriber(dial(t, address, name,
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { unexpected <- err }))), unexpected
}

// dial connects as a subscriber of [roomlinktest.Account].
func dial(t *testing.T, address, name string, options ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("nats://"+address, append([]nats.Option{
		nats.UserInfo(name+"@"+roomlinktest.Account, name+"'s password"), nats.MaxReconnects(-1), nats.ReconnectWait(10 * time.Millisecond),
	}, options...)...)
	if err != nil {
		t.Fatalf("connecting as %q: %v", name, err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// run runs fn until the test ends. fn must then return the context's error.
func run(t *testing.T, what string, fn func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(roomlinktest.Context(t))
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("ending %s: got error %v, want %v", what, err, context.Canceled)
		}
	})
}
