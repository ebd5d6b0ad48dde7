package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/broker"
	"roomlink/internal/secret"
	"roomlink/internal/store"
	"roomlink/messages"
)

// DialTimeout bounds the wait of the operator's commands for the broker.
const DialTimeout = 5 * time.Second

// The files of the data directory from which the operator's commands learn the
// addresses of pages.
const (
	keyFile = "link.key"
	urlFile = "public.url"
)

// ConnectionSettings select the broker of the operator's commands.
type ConnectionSettings struct {
	NATSSettings
	StoreSettings
}

// OperatorSettings select the broker and the account of the operator's commands.
type OperatorSettings struct {
	ConnectionSettings

	Account string `env:"ROOMLINK_ACCOUNT" default:"default" help:"The name of the account."`
}

// Connect connects as the operator: to the external broker, or to the embedded one of a
// running "roomlink serve" on this machine. Call disconnect at the end.
func (s ConnectionSettings) Connect(
	ctx context.Context, env Environment,
) (connected *store.Store, disconnect func(), err error) {
	return s.connect(ctx, env, broker.RoleOperator)
}

// ConnectProvisioner is [ConnectionSettings.Connect] for what makes streams and consumers.
func (s ConnectionSettings) ConnectProvisioner(
	ctx context.Context, env Environment,
) (connected *store.Store, disconnect func(), err error) {
	return s.connect(ctx, env, broker.RoleProvisioner)
}

func (s ConnectionSettings) connect(
	ctx context.Context, env Environment, role broker.Role,
) (connected *store.Store, disconnect func(), err error) {
	if _, _, ok := s.Subscriber(); ok {
		return nil, nil, Usagef("ROOMLINK_NATS_USER %q is a subscriber: this command needs the operator", s.NATSUser)
	}
	remote, err := s.Remote(env, broker.RoleOperator)
	if err != nil {
		return nil, nil, err
	}
	server := "ROOMLINK_NATS_URL"
	if remote.URL == "" {
		if s.BrokerListen == broker.ListenOff {
			return nil, nil, Usagef("ROOMLINK_BROKER_LISTEN is off: this command needs the embedded broker to listen")
		}
		server = s.BrokerListen
		if err := s.embedded(&remote); err != nil {
			return nil, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	b, err := broker.Dial(ctx, remote)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to the broker at %s: %w", server, err)
	}
	js, err := b.Connect(role, "operator")
	if err != nil {
		b.Close()
		return nil, nil, err
	}
	return store.New(js, store.WithExplanation(func(err error) error { return b.Explain(js, err) })), b.Close, nil
}

// embedded fills in how to reach the embedded broker of this machine. The data directory has
// the operator's password, and the certificate of a broker with TLS.
func (s ConnectionSettings) embedded(remote *broker.RemoteConfig) (err error) {
	remote.URL = "nats://" + s.BrokerListen
	remote.User = string(broker.RoleOperator)
	remote.Password, err = secret.ReadFile(broker.OperatorPassword(s.DataDir))
	if err != nil {
		return fmt.Errorf("reading the operator's password: %w: is this the data directory "+
			"(ROOMLINK_DATA_DIR) of a running \"roomlink serve\"?", err)
	}
	if remote.CAFile == "" {
		remote.TLS, err = pinnedBroker(s.DataDir)
	}
	return err
}

// Pages returns the addresses of the pages of a conversation. It returns nil if neither
// the settings nor the data directory have the link key and the public URL.
func (s OperatorSettings) Pages(
	env Environment, settings PageSettings, conversation messages.Conversation,
) (*access.Addresses, error) {
	dataDir := s.DataDir
	if s.NATSURL != "" {
		dataDir = ""
	}
	key, err := env.Secret(LinkKey)
	if err == nil && key == "" {
		key, err = readKept(dataDir, keyFile)
	}
	base := secret.String(settings.PublicURL)
	if err == nil && base == "" {
		base, err = readKept(dataDir, urlFile)
	}
	if err != nil || key == "" || base == "" {
		return nil, err
	}
	keys, err := parseKeys(key)
	if err != nil {
		return nil, err
	}
	url, err := checkPublicURL(base.Reveal())
	if err != nil {
		return nil, err
	}
	pages := access.Pages{Keys: keys, BaseURL: url, Lifetime: settings.PageLifetime}.For(conversation, time.Now())
	return &pages, nil
}

// readKept reads a file of the data directory; "" if it does not exist.
func readKept(dataDir, name string) (secret.String, error) {
	if dataDir == "" {
		return "", nil
	}
	value, err := secret.ReadFile(filepath.Join(dataDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return value, err
}

// keepURL writes the public URL to the data directory for the operator's commands. Call
// it after the start of the embedded broker, which locks the directory.
func (a *App) keepURL(dataDir string) error {
	if dataDir == "" {
		return nil
	}
	if err := secret.WriteFile(filepath.Join(dataDir, urlFile), secret.String(a.publicURL)); err != nil {
		return fmt.Errorf("writing the public URL: %w", err)
	}
	return nil
}
