package messages_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/store"
	"roomlink/messages"
)

// exampleBroker runs the embedded broker of "roomlink serve" with the links of one
// conversation. It returns the broker's address and its data directory.
func exampleBroker(ctx context.Context) (address, dir string, stop func()) {
	dir, err := os.MkdirTemp("", "roomlink")
	if err != nil {
		log.Fatal(err)
	}
	b, err := broker.Embed(ctx, broker.EmbeddedConfig{
		Dir: dir, Sync: time.Minute, Listen: "127.0.0.1:0", Subscribers: []broker.Subscriber{{Account: "acme", Name: "crm"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	js, err := b.Connect(broker.RoleProvisioner, "example")
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Provision(ctx, js, store.StreamSettings{}); err != nil {
		log.Fatal(err)
	}
	if _, err := store.New(js).PublishLinks(ctx, roomlinktest.Links("conversation-17", 1), 0); err != nil {
		log.Fatal(err)
	}
	return b.Address(), dir, func() {
		b.Close()
		_ = os.RemoveAll(dir)
	}
}

// subscribe connects as a subscriber. The first start of roomlink wrote the password
// to the data directory.
func subscribe(address, dir string) (jetstream.JetStream, error) {
	password, err := secret.ReadFile(broker.SubscriberPassword(dir, "crm@acme"))
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(address, nats.UserInfo("crm@acme", password.Reveal()))
	if err != nil {
		return nil, err
	}
	return jetstream.New(nc)
}

// A subscriber reads the links of a conversation. Printed links do not show the
// ticket.
func ExampleSubscriber_Links() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	address, dir, stop := exampleBroker(ctx)
	defer stop()

	js, err := subscribe(address, dir)
	if err != nil {
		log.Fatal(err)
	}
	defer js.Conn().Close()
	subscriber := messages.NewSubscriber(js)
	for _, id := range []string{"conversation-17", "conversation-18"} {
		conversation := messages.Conversation{Account: "acme", InteractionID: id}
		links, err := subscriber.Links(ctx, conversation)
		switch {
		case errors.Is(err, messages.ErrNotFound):
			fmt.Println(id, "has no links yet")
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(id, links.Data.AgentURL, links.Data.TicketURL)
		}
	}
	// Output:
	// conversation-17 https://video.example/agent [redacted]
	// conversation-18 has no links yet
}

// A subscriber watches links: first the stored ones, then the new ones.
func ExampleSubscriber_Watch() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	address, dir, stop := exampleBroker(ctx)
	defer stop()

	js, err := subscribe(address, dir)
	if err != nil {
		log.Fatal(err)
	}
	defer js.Conn().Close()
	enough := errors.New("enough")
	err = messages.NewSubscriber(js).Watch(ctx, "acme", messages.WatchOptions{},
		func(links messages.Stored[messages.Links]) error {
			fmt.Println(links.Data.InteractionID, "generation", links.Data.Generation)
			return enough
		})
	if !errors.Is(err, enough) {
		log.Fatal(err)
	}
	// Output:
	// conversation-17 generation 1
}
