package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// loadBrokerUser is the one user of the broker that a load test starts for parts
// that are processes.
const loadBrokerUser = "roomlink"

// loadBrokerCommand runs a NATS server as an external broker runs, which is what
// the parts of a load test need as processes of their own.
type loadBrokerCommand struct {
	Listen string       `required:"" help:"Its address."`
	Store  string       `required:"" type:"path" help:"Where it keeps its store."`
	Sync   syncInterval `default:"always" help:"When it syncs its store to the disk: \"always\" or an interval."`
}

// Run carries out the command.
func (c *loadBrokerCommand) Run(ctx context.Context, w world) error {
	password, err := w.secretOf(natsPassword)
	if err != nil {
		return err
	}
	host, portText, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return usageError{err}
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return usageError{err}
	}
	interval := time.Duration(c.Sync)
	broker, err := server.NewServer(&server.Options{
		Host: host, Port: port, Username: loadBrokerUser, Password: password.Reveal(),
		JetStream: true, StoreDir: c.Store, SyncAlways: interval == 0, SyncInterval: interval,
		NoSigs: true, NoLog: true,
	})
	if err != nil {
		return fmt.Errorf("preparing the broker: %w", err)
	}
	broker.Start()
	defer func() {
		broker.Shutdown()
		broker.WaitForShutdown()
	}()
	if !broker.ReadyForConnections(readyWithin) {
		return errors.New("starting the broker: it is not ready")
	}
	<-ctx.Done()
	return nil
}
