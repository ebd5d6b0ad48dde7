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

	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/store"
	"roomlink/messages"
)

// exampleBroker runs the embedded broker of "roomlink serve" with the links of one
// conversation. It returns the subscriber "crm" of account "acme".
func exampleBroker(ctx context.Context) (subscriber *messages.Subscriber, stop func()) {
	dir, err := os.MkdirTemp("", "roomlink")
	if err != nil {
		log.Fatal(err)
	}
	crm := broker.Subscriber{Account: "acme", Name: "crm"}
	b, err := broker.Embed(ctx, broker.EmbeddedConfig{
		Dir: dir, Sync: time.Minute, Listen: "127.0.0.1:0", Subscribers: []broker.Subscriber{crm},
	})
	if err != nil {
		log.Fatal(err)
	}
	provisioner, err := b.Connect(broker.RoleProvisioner, "example")
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Provision(ctx, provisioner, store.StreamSettings{}); err != nil {
		log.Fatal(err)
	}
	acme := accounts.Account{Name: "acme", Subscribers: []accounts.Subscriber{{Name: "crm", From: accounts.FromAll}}}
	if err := store.SyncSubscribers(ctx, provisioner, []accounts.Account{acme}, time.Now()); err != nil {
		log.Fatal(err)
	}
	if _, err := store.New(provisioner).PublishLinks(ctx, roomlinktest.Links("conversation-17", 1), 0); err != nil {
		log.Fatal(err)
	}
	nc, err := subscribeTo(b.Address(), broker.SubscriberPassword(dir, crm.User()))
	if err != nil {
		log.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	return messages.NewSubscriber(js), func() {
		nc.Close()
		b.Close()
		_ = os.RemoveAll(dir)
	}
}

// subscribeTo connects as the subscriber. The first start of roomlink wrote the password.
func subscribeTo(address, passwordFile string) (*nats.Conn, error) {
	password, err := secret.ReadFile(passwordFile)
	if err != nil {
		return nil, err
	}
	return nats.Connect(address, nats.UserInfo("crm@acme", password.Reveal()))
}

// A subscriber reads the links of a conversation. Printed links do not show the
// ticket.
func ExampleSubscriber_Links() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	subscriber, stop := exampleBroker(ctx)
	defer stop()

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

// A program waits for the links of a conversation that has just begun.
func ExampleSubscriber_Wait() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	subscriber, stop := exampleBroker(ctx)
	defer stop()

	links, err := subscriber.Wait(ctx, messages.Conversation{Account: "acme", InteractionID: "conversation-17"})
	if failed, ok := errors.AsType[*messages.FailedError](err); ok {
		fmt.Println("there will be no links:", failed.DeadLetter.Data.Reason)
	} else if err != nil {
		log.Fatal(err)
	}
	fmt.Println(links.Data.AgentURL)
	// Output:
	// https://video.example/agent
}

// A program keeps the links of every conversation. It goes on where it stopped.
func ExampleSubscriber_Consume() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	subscriber, stop := exampleBroker(ctx)
	defer stop()

	consuming, enough := context.WithCancel(ctx)
	known := map[string]messages.Links{}
	err := subscriber.Consume(consuming, "acme", "crm", func(links messages.Stored[messages.Links]) error {
		if links.Data.Replaces(known[links.Data.InteractionID]) {
			known[links.Data.InteractionID] = links.Data
		}
		enough() // a real program goes on
		return nil
	})
	fmt.Println(known["conversation-17"].AgentURL, errors.Is(err, context.Canceled))
	// Output:
	// https://video.example/agent true
}
