package broker_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// dialDeployed connects like a part or like the operator.
func dialDeployed(t *testing.T, config broker.RemoteConfig) *store.Store {
	t.Helper()
	config.Logger = zerolog.New(io.Discard)
	b, err := broker.Dial(roomlinktest.Context(t), config)
	if err != nil {
		t.Fatalf("dialling: %v", err)
	}
	t.Cleanup(b.Close)
	js, err := b.Connect("test")
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	return store.New(js)
}

// TestDeployedConfiguration checks what each user of deploy/nats.conf may do and what it
// may not.
func TestDeployedConfiguration(t *testing.T) {
	url := roomlinktest.StartDeployedServer(t, "../..").ClientURL()
	parts := dialDeployed(t, broker.RemoteConfig{URL: url, User: "roomlink", Password: "invented"})
	operator := dialDeployed(t, broker.RemoteConfig{URL: url, User: "operator", Password: "inventedOPERATOR_", Operator: true})
	if err := store.Provision(roomlinktest.Context(t), parts.JetStream(), store.StreamSettings{}); err != nil {
		t.Fatalf("provisioning: %v", err)
	}
	if _, err := store.ProvisionConsumer(roomlinktest.Context(t), parts.JetStream(), "default"); err != nil {
		t.Fatalf("provisioning the consumer: %v", err)
	}
	publishLinks(t, parts, "default", "a")
	publishDeadLetter(t, parts, "default", "b")
	letter, err := operator.DeadLetter(roomlinktest.Context(t), conversation("default", "b"), store.Leader)
	if err != nil {
		t.Fatalf("reading a dead letter as operator: %v", err)
	}
	if _, err := operator.Replay(roomlinktest.Context(t), letter); err != nil {
		t.Errorf("replaying as operator: got error %v, want none", err)
	}
	publishLinks(t, parts, "default", "c")
	if _, err := operator.Revoke(roomlinktest.Context(t), conversation("default", "c"), time.Now()); err != nil {
		t.Errorf("revoking links as operator: got error %v, want none", err)
	}
	publishDeadLetter(t, parts, "default", "b")
	if letter, err = parts.DeadLetter(roomlinktest.Context(t), conversation("default", "b"), store.Leader); err != nil {
		t.Fatalf("reading a dead letter: %v", err)
	}
	if err := parts.Discard(roomlinktest.Context(t), letter); err != nil {
		t.Errorf("discarding a dead letter: got error %v, want none", err)
	}
	short, cancel := context.WithTimeout(roomlinktest.Context(t), time.Second)
	defer cancel()
	if err := parts.JetStream().DeleteStream(short, messages.LinksStream); err == nil {
		t.Error("deleting a stream as a part: got no error, want one")
	}

	nc, err := nats.Connect(url, nats.UserInfo("subscriber", "inventedSUBSCRIBER_"),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatalf("connecting as subscriber: %v", err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	subscriber := store.New(js)
	if _, err := subscriber.Links(roomlinktest.Context(t), conversation("default", "a"), store.Any); err != nil {
		t.Errorf("reading links as subscriber: got error %v, want none", err)
	}
	wantWatched(t, userClient{Store: subscriber}, "default", "a")
	err = nc.PublishRequest("$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links.default.none",
		"$JS.API.STREAM.PURGE.ROOMLINK_LINKS", nil)
	if err := errors.Join(err, nc.FlushWithContext(roomlinktest.Context(t))); err != nil {
		t.Fatalf("publishing: %v", err)
	}
	if _, err := subscriber.Links(roomlinktest.Context(t), conversation("default", "a"), store.Any); err != nil {
		t.Errorf("links after a request with a forged reply subject: got error %v, want none", err)
	}
}
