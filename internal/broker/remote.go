package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"roomlink/internal/secret"
)

// RemoteConfig configures the connection to an external broker.
type RemoteConfig struct {
	// URL lists the servers, separated by commas.
	URL string
	Login
	// Provisioner is the login of the connection that makes streams and consumers. Without one
	// that connection has the login of the others.
	Provisioner Login
	// CAFile, CertFile and KeyFile are PEM files. Without CAFile the system's authorities
	// apply. Without CertFile there is no client certificate.
	CAFile, CertFile, KeyFile string
	// TLS replaces CAFile, CertFile and KeyFile; nil for none.
	TLS *tls.Config
	// Domain is the JetStream domain of the streams; "" for that of the servers.
	Domain string
	// Role is the role of this process. It decides the inboxes.
	Role   Role
	Logger zerolog.Logger
}

// Login is how a connection logs in.
type Login struct {
	// CredentialsFile is a NATS .creds file; "" for none.
	CredentialsFile string
	// User and Password; "" for none. PasswordFile replaces Password if it is not empty.
	User         string
	Password     secret.String
	PasswordFile string
}

// Empty reports whether there is neither a file nor a user.
func (l Login) Empty() bool { return l.CredentialsFile == "" && l.User == "" }

// options returns the options of a connection with the login.
func (l Login) options(log zerolog.Logger) []nats.Option {
	var options []nats.Option
	if l.CredentialsFile != "" {
		options = append(options, nats.UserCredentials(l.CredentialsFile))
	}
	switch {
	case l.User != "" && l.PasswordFile != "":
		options = append(options, nats.UserInfoHandler(l.userInfo(log)))
	case l.User != "":
		options = append(options, nats.UserInfo(l.User, l.Password.Reveal()))
	}
	return options
}

// options returns the options of a connection with a role. Only the provisioner may have a login
// of its own.
func (c RemoteConfig) options(role Role) []nats.Option {
	login := c.Login
	if role == RoleProvisioner && !c.Provisioner.Empty() {
		login = c.Provisioner
	} else {
		role = c.Role
	}
	options := append(login.options(c.Logger), nats.CustomInboxPrefix(role.inbox()))
	if c.CAFile != "" {
		options = append(options, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		options = append(options, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	if c.TLS != nil {
		options = append(options, nats.Secure(c.TLS))
	}
	return options
}

// Dial waits until the external broker accepts a connection. It logs each failed attempt and
// waits longer after each. It returns the error of the last attempt together with that of the
// context. It returns immediately if a file cannot be read, if the broker refuses the
// credentials, or with an error that wraps [ErrUnsuitable].
//
// Every attempt to connect reads the files anew, so that a rotated password or certificate
// needs no restart.
func Dial(ctx context.Context, config RemoteConfig) (*Broker, error) {
	for _, file := range []string{
		config.CredentialsFile, config.PasswordFile, config.Provisioner.CredentialsFile, config.Provisioner.PasswordFile,
		config.CAFile, config.CertFile, config.KeyFile,
	} {
		if file == "" {
			continue
		}
		// NATS reads the file while it connects, and Dial would retry a missing file.
		if _, err := os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("reading the broker's credentials: %w", err)
		}
	}
	b := &Broker{
		log: config.Logger, login: config.options, url: config.URL, domain: config.Domain, syncs: true,
		provisions: !config.Provisioner.Empty(), ended: make(chan error, 1),
	}
	if err := b.waitForServer(ctx, config.Role); err != nil {
		return nil, err
	}
	b.ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	return b, nil
}

// userInfo returns a function that returns the user and the password in the file. While the
// file cannot be read, it returns the last password.
func (l Login) userInfo(log zerolog.Logger) nats.UserInfoCB {
	var mu sync.Mutex // several connections share it
	last, readable := l.Password, true
	return func() (user, password string) {
		mu.Lock()
		defer mu.Unlock()
		current, err := secret.ReadFile(l.PasswordFile)
		if err == nil {
			last = current
		} else if readable {
			log.Warn().Err(err).Msg("password of the broker not read: using the former one")
		}
		readable = err == nil
		return l.User, last.Reveal()
	}
}

// waitForServer connects until it succeeds or the context ends.
func (b *Broker) waitForServer(ctx context.Context, role Role) error {
	for attempts := uint64(1); ; attempts++ {
		c, err := b.connect(role, "start")
		if err == nil {
			c.js.Conn().Close()
			return nil
		}
		if invalid, ok := errors.AsType[*url.Error](err); ok {
			// The error quotes the address, which may contain a password.
			return fmt.Errorf("reading the broker's address %q: %w", WithoutCredentials(b.url), invalid.Err)
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrInvalidArg) || errors.Is(err, ErrUnsuitable) {
			return err
		}
		delay := connectBackoff.Delay(attempts)
		b.log.Warn().Err(err).Int64("retry_in_ms", delay.Milliseconds()).
			Str("server", WithoutCredentials(b.url)).Msg("waiting for the broker")
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-time.After(delay):
		}
	}
}

// credentials matches the scheme of a server address, which it captures, and what precedes the
// host. It does so even in a malformed address.
var credentials = regexp.MustCompile(`((?:^|,)(?:[^,]*?://)?)[^,]*@`)

// WithoutCredentials removes user names, passwords and tokens from a list of server addresses.
func WithoutCredentials(list string) string { return credentials.ReplaceAllString(list, "$1") }
