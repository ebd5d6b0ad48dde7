package broker

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Subscribe connects to an external broker as a subscriber, which may do less than every
// role. The connection reports no errors to the log. The caller closes it. Its errors are
// those of NATS.
func Subscribe(ctx context.Context, config RemoteConfig) (jetstream.JetStream, error) {
	timeout := connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = time.Until(deadline)
	}
	options := append(config.options(config.Role),
		nats.Name("roomlink subscriber"),
		nats.CustomInboxPrefix(nats.InboxPrefix[:len(nats.InboxPrefix)-1]), // the only one that it may use
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPings),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	)
	nc, err := nats.Connect(config.URL, options...)
	if err != nil {
		return nil, err
	}
	if config.Domain != "" {
		return jetstream.NewWithDomain(nc, config.Domain)
	}
	return jetstream.New(nc) // fails for impossible options only
}
