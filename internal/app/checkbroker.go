package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/store"
	"roomlink/messages"
)

// checkBroker checks the external broker, or whether the embedded one can start or runs.
func (c *checker) checkBroker(ctx context.Context) {
	if c.isEmbedded() {
		c.checkEmbedded(ctx)
		return
	}
	c.checkListen(false)
	remote, err := c.Remote(c.env, c.role())
	if err == nil && c.NATSURL == "" {
		err = errNoBroker
	}
	if err != nil {
		c.fail("broker", "", err)
		return
	}
	remote.Logger = zerolog.Nop()
	dialing, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	b, err := broker.Dial(dialing, remote)
	if err != nil {
		c.fail("broker", brokerRemedy(err), err)
		return
	}
	defer b.Close()
	js, err := b.Connect(c.role(), "check")
	if err != nil {
		c.fail("broker", brokerRemedy(err), err)
		return
	}
	nc := js.Conn()
	c.okf("broker", "connected to %s as %s: version %s, messages of up to %d KiB",
		broker.WithoutCredentials(nc.ConnectedUrl()), c.role(), nc.ConnectedServerVersion(), nc.MaxPayload()>>10)
	if b.Provisions() {
		if _, err := b.Connect(broker.RoleProvisioner, "check provisioner"); err != nil {
			c.fail("broker", "check ROOMLINK_NATS_PROVISION_USER with its password, or ROOMLINK_NATS_PROVISION_CREDS", err)
		}
	}
	c.checkPermissions(ctx, js)
	c.checkStreams(ctx, js)
}

// brokerRemedy returns what to do about an error of the connection; "" if the error says it.
func brokerRemedy(err error) string {
	switch {
	case errors.Is(err, broker.ErrUnsuitable):
		return ""
	case errors.Is(err, nats.ErrAuthorization):
		return "check ROOMLINK_NATS_USER with its password, or ROOMLINK_NATS_CREDS"
	}
	return "check ROOMLINK_NATS_URL, and that the NATS server runs"
}

// checkEmbedded checks what the embedded broker needs to start, or the one that runs.
func (c *checker) checkEmbedded(ctx context.Context) {
	if !c.checkData() {
		c.checkListen(true)
		return
	}
	lock, err := broker.LockDirectory(c.DataDir)
	switch {
	case err == nil:
		_ = lock.Unlock() // nothing was done under the lock
		c.okf("broker", "the embedded broker can be started")
		c.checkListen(true)
		return
	case !errors.Is(err, broker.ErrLocked):
		c.fail("broker", "", err)
		return
	case c.BrokerListen == broker.ListenOff || strings.HasSuffix(c.BrokerListen, ":0"):
		c.okf("broker", "\"roomlink serve\" runs")
		c.warnf("streams", "use \"roomlink check --ready\"", "the broker of \"roomlink serve\" has no address that is known here")
		return
	}
	connections := ConnectionSettings{NATSSettings: c.NATSSettings, StoreSettings: c.StoreSettings}
	connected, disconnect, err := connections.Connect(ctx, c.env)
	if err != nil {
		c.fail("broker", "check that ROOMLINK_BROKER_LISTEN is that of the running \"roomlink serve\"", err)
		return
	}
	defer disconnect()
	c.okf("broker", "\"roomlink serve\" runs, and its broker answers at %s", c.BrokerListen)
	c.checkStreams(ctx, connected.JetStream())
}

// checkPermissions checks that the user may publish what the part stores.
func (c *checker) checkPermissions(ctx context.Context, js jetstream.JetStream) {
	var prefixes []string
	if c.isPublic() {
		prefixes = append(prefixes, messages.EventSubjects)
	}
	if c.makesRooms() {
		prefixes = append(prefixes, messages.LinksSubjects, messages.DeadLetterSubjects)
	}
	account := "check"
	if len(c.accounts) > 0 {
		account = c.accounts[0].Name
	}
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	for _, prefix := range prefixes {
		if err := store.MayPublish(ctx, js, prefix+account+".check"); err != nil {
			c.fail("permissions", "apply the configuration that \"roomlink nats config\" prints",
				fmt.Errorf("publishing below %q: %w", prefix, err))
			return
		}
	}
	c.okf("permissions", "the user may publish what the part stores")
}

// checkStreams reports streams and consumers that are missing or differ, and the clock of the broker.
func (c *checker) checkStreams(ctx context.Context, js jetstream.JetStream) {
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	var streams []string
	for _, stream := range (store.StreamSettings{}).Streams() {
		streams = append(streams, stream.Name)
	}
	var consumers []string
	if c.makesRooms() {
		consumers = names(c.accounts)
	}
	found, err := store.New(js).Inspect(ctx, streams, consumers)
	if err != nil {
		c.fail("streams", "check that JetStream is on, and apply the configuration that \"roomlink nats config\" prints", err)
		return
	}
	good := 0
	for _, name := range streams {
		if fault := found.Faults[name]; fault != "" {
			c.warnf("streams", "a start makes or changes it if its user may; else run \"roomlink streams apply\"", "stream %s %s", name, fault)
			continue
		}
		good++
	}
	for _, account := range consumers {
		if fault := found.Faults[store.ConsumerName(account)]; fault != "" {
			c.warnf("streams", "", "consumer %s: %s", store.ConsumerName(account), fault)
		}
	}
	if good > 0 {
		c.okf("streams", "%d of %d streams are as they should be", good, len(streams))
		c.checkBrokerClock(ctx, js)
	}
}

func (c *checker) checkBrokerClock(ctx context.Context, js jetstream.JetStream) {
	for _, stream := range (store.StreamSettings{}).Streams() {
		asked := time.Now()
		if info, err := js.Stream(ctx, stream.Name); err == nil && !info.CachedInfo().TimeStamp.IsZero() {
			c.reportClock("the broker", asked, info.CachedInfo().TimeStamp, 0)
			return
		}
	}
}
