package worker_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// exampleBroker starts a broker with the streams, and connects to it.
func exampleBroker(ctx context.Context) (js jetstream.JetStream, stop func()) {
	dir, err := os.MkdirTemp("", "roomlink")
	if err != nil {
		log.Fatal(err)
	}
	b, err := broker.Embed(ctx, broker.EmbeddedConfig{Dir: dir, Sync: time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	if js, err = b.Connect(broker.RoleProvisioner, "example"); err != nil {
		log.Fatal(err)
	}
	if err := store.Provision(ctx, js, store.StreamSettings{}); err != nil {
		log.Fatal(err)
	}
	return js, func() {
		b.Close()
		_ = os.RemoveAll(dir)
	}
}

// exampleAuvious starts a simulated auvious and returns its URL.
func exampleAuvious() (url string, stop func()) {
	simulated, err := simulator.New(simulator.Config{})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(simulated)
	return server.URL, server.Close
}

func ExampleWorker() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	js, stopBroker := exampleBroker(ctx)
	defer stopBroker()
	url, stopAuvious := exampleAuvious()
	defer stopAuvious()

	acme := accounts.Default("acme")
	acme.Auvious.URL, acme.Auvious.ApplicationID = url, "app-1"
	acme.Auvious.ClientID, acme.Auvious.ClientSecret = simulator.DefaultClientID, simulator.DefaultClientSecret
	facade, err := auvious.New(acme.Auvious.Rooms)
	if err != nil {
		fmt.Println(err)
		return
	}
	events := store.New(js)
	w, err := worker.New(worker.Config{
		Store: events, Accounts: []worker.Account{{Account: acme, Facade: facade}}, Grace: 20 * time.Second,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()

	if _, err := events.Publish(ctx, roomlinktest.Started("call-1")); err != nil {
		fmt.Println(err)
	}
	links, err := messages.NewSubscriber(js).Wait(ctx, roomlinktest.Conversation("call-1"))
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println("links of", links.Data.InteractionID, "in generation", links.Data.Generation)
	fmt.Println("ticket:", links.Data.TicketURL)
	stop() // the worker finishes its work first
	fmt.Println("worker ended:", <-ended)
	// Output:
	// links of call-1 in generation 1
	// ticket: [redacted]
	// worker ended: <nil>
}
