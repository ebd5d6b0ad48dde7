package broker_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
)

func Example() {
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// embedded: true, healthy: true
	// stored "hello" as message 1
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "broker-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := broker.Embed(ctx, broker.EmbeddedConfig{
		Dir: dir, Sync: time.Minute, Listen: broker.ListenOff, Logger: zerolog.Nop(),
	})
	if err != nil {
		return err
	}
	defer b.Close()
	js, err := b.Connect(broker.RoleProvisioner, "example")
	if err != nil {
		return err
	}
	fmt.Printf("embedded: %t, healthy: %t\n", b.Embedded(), b.Health() == nil)

	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "GREETINGS", Subjects: []string{"greetings"}})
	if err != nil {
		return err
	}
	ack, err := js.Publish(ctx, "greetings", []byte("hello"))
	if err != nil {
		return err
	}
	message, err := stream.GetMsg(ctx, ack.Sequence)
	if err != nil {
		return err
	}
	fmt.Printf("stored %q as message %d\n", message.Data, message.Sequence)
	return nil
}
