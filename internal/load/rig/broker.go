package rig

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"roomlink/internal/app"
)

// brokerUser is the only user of [Broker].
const brokerUser = "roomlink"

// Broker is an external broker for parts that are processes.
type Broker struct {
	Listen netip.AddrPort   `required:"" help:"Its address."`
	Store  string           `required:"" type:"path" help:"The directory of its store."`
	Sync   app.SyncInterval `default:"always" help:"When it syncs its store to the disk: \"always\" or an interval."`
}

// Run runs the broker until the context ends.
func (b Broker) Run(ctx context.Context, env app.Environment) error {
	password, err := env.Secret(app.NATSPassword)
	if err != nil {
		return err
	}
	interval := time.Duration(b.Sync)
	nats, err := server.NewServer(&server.Options{
		Host: b.Listen.Addr().String(), Port: int(b.Listen.Port()),
		Username: brokerUser, Password: password.Reveal(),
		JetStream: true, StoreDir: b.Store, SyncAlways: interval == 0, SyncInterval: interval,
		NoSigs: true, NoLog: true,
	})
	if err != nil {
		return fmt.Errorf("preparing the broker: %w", err)
	}
	nats.Start()
	defer func() {
		nats.Shutdown()
		nats.WaitForShutdown()
	}()
	if !nats.ReadyForConnections(readyTimeout) {
		return errors.New("starting the broker: it is not ready")
	}
	<-ctx.Done()
	return nil
}
