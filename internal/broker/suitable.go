package broker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// The oldest version of nats-server that roomlink works with. Older ones store a batch and
// acknowledge it in a way that no client can read.
const minMajor, minMinor = 2, 12

// ErrUnsuitable means that a NATS server cannot be used. The error says what to change.
var ErrUnsuitable = errors.New("the NATS server cannot be used")

// checkServer returns an error that wraps ErrUnsuitable if the server of a connection is too
// old or refuses our largest message. A server of unknown version passes.
func checkServer(nc *nats.Conn) error {
	server, version := WithoutCredentials(nc.ConnectedUrl()), nc.ConnectedServerVersion()
	var major, minor int
	_, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
	if err == nil && (major < minMajor || major == minMajor && minor < minMinor) {
		return fmt.Errorf("%w: %s is version %s, and roomlink needs version %d.%d or later",
			ErrUnsuitable, server, version, minMajor, minMinor)
	}
	if limit := nc.MaxPayload(); limit > 0 && limit < maxPayload {
		return fmt.Errorf("%w: %s takes messages of at most %d bytes, and roomlink's largest has %d: "+
			"raise its max_payload", ErrUnsuitable, server, limit, maxPayload)
	}
	return nil
}

// checkInbox returns an error that wraps ErrUnsuitable if the user may not receive replies. Then
// every request would time out.
func checkInbox(nc *nats.Conn) error {
	inbox := nc.NewInbox()
	subscription, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = subscription.Unsubscribe() }() // the connection may have closed
	if err := nc.FlushTimeout(connectTimeout); err != nil {
		return err
	}
	if err := nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("%w: %s does not let the user subscribe to %q: apply the configuration that "+
			"\"roomlink nats config\" prints", ErrUnsuitable, WithoutCredentials(nc.ConnectedUrl()),
			inbox[:strings.LastIndexByte(inbox, '.')]+".>")
	}
	return nil
}
