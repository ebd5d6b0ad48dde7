package broker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"roomlink/internal/secret"
)

// RemoteConfig configures the connection to an external broker.
type RemoteConfig struct {
	// URL lists the servers, separated by commas.
	URL string
	// CredentialsFile is a NATS .creds file; "" for none.
	CredentialsFile string
	// User and Password; "" for none.
	User     string
	Password secret.String
	// CAFile, CertFile and KeyFile are PEM files. Without CAFile the system's authorities
	// apply. Without CertFile there is no client certificate.
	CAFile, CertFile, KeyFile string
	// Operator selects the inbox of our own commands. Their user may differ from the user of
	// the parts.
	Operator bool
	Logger   zerolog.Logger
}

// Dial waits until the external broker accepts a connection. It logs each failed attempt and
// waits longer after each. It returns the context's error joined with the error of the last
// attempt. It returns immediately if a file cannot be read or the broker refuses the
// credentials.
func Dial(ctx context.Context, config RemoteConfig) (*Broker, error) {
	for _, file := range []string{config.CredentialsFile, config.CAFile, config.CertFile, config.KeyFile} {
		if file == "" {
			continue
		}
		// NATS reads the file while it connects, and Dial would retry a missing file.
		if _, err := os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("reading the broker's credentials: %w", err)
		}
	}
	b := &Broker{log: config.Logger, url: config.URL, options: []nats.Option{nats.CustomInboxPrefix(partsInbox)}, syncs: true}
	if config.Operator {
		b.options = []nats.Option{nats.CustomInboxPrefix(operatorInbox)}
	}
	if config.CredentialsFile != "" {
		b.options = append(b.options, nats.UserCredentials(config.CredentialsFile))
	}
	if config.User != "" {
		b.options = append(b.options, nats.UserInfo(config.User, config.Password.Reveal()))
	}
	if config.CAFile != "" {
		b.options = append(b.options, nats.RootCAs(config.CAFile))
	}
	if config.CertFile != "" {
		b.options = append(b.options, nats.ClientCert(config.CertFile, config.KeyFile))
	}
	if err := b.waitForServer(ctx); err != nil {
		return nil, err
	}
	b.ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	return b, nil
}

// waitForServer connects until it succeeds or the context ends.
func (b *Broker) waitForServer(ctx context.Context) error {
	for attempts := uint64(1); ; attempts++ {
		js, err := b.connect("start")
		if err == nil {
			js.Conn().Close()
			return nil
		}
		if invalid, ok := errors.AsType[*url.Error](err); ok {
			// The error quotes the address, which may contain a password.
			return fmt.Errorf("reading the broker's address %q: %w", withoutCredentials(b.url), invalid.Err)
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrInvalidArg) {
			return err
		}
		delay := connectBackoff.Delay(attempts)
		b.log.Warn().Err(err).Int64("retry_in_ms", delay.Milliseconds()).
			Str("server", withoutCredentials(b.url)).Msg("waiting for the broker")
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(delay):
		}
	}
}

// credentials matches the scheme of a server address, which it captures, and what precedes the
// host. It does so even in a malformed address.
var credentials = regexp.MustCompile(`((?:^|,)(?:[^,]*?://)?)[^,]*@`)

// withoutCredentials removes user names and passwords from a list of server addresses.
func withoutCredentials(list string) string { return credentials.ReplaceAllString(list, "$1") }
