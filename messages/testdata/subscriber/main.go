// Command subscriber prints the links of every conversation. It stands for your own program: a module of its own that
// imports roomlink's package messages and the NATS client.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/messages"
)

func main() {
	url := flag.String("nats", nats.DefaultURL, "the address of the broker")
	file := flag.String("password-file", "roomlink-data/subscriber.password", "the file with the subscriber's password")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := watch(ctx, *url, *file); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// watch prints the stored links, then each new one, until ctx ends. It never prints the ticket URL, which is a secret.
func watch(ctx context.Context, url, passwordFile string) error {
	password, err := os.ReadFile(passwordFile)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(url, nats.UserInfo("subscriber", strings.TrimSpace(string(password))))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	subscriber := messages.NewSubscriber(js)
	return subscriber.Watch(ctx, "default", messages.WatchOptions{}, func(stored messages.Stored[messages.Links]) error {
		_, err := fmt.Println(stored.Data.InteractionID, stored.Data.AgentURL)
		return err
	})
}
