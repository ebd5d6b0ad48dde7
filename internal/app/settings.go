package app

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/store"
	"roomlink/internal/web"
)

// The settings are the fields below and those of package accounts, by flag or variable,
// and the secrets in [Secrets], by variable or file. A test holds docs/reference.md to
// them.

// LogSettings configure the log.
type LogSettings struct {
	LogLevel  string `env:"ROOMLINK_LOG_LEVEL" default:"info" enum:"trace,debug,info,warn,error" group:"operations" help:"The lowest level of logged lines: ${enum}."`
	LogFormat string `env:"ROOMLINK_LOG_FORMAT" default:"json" enum:"json,console" group:"operations" help:"The format of logged lines: ${enum}."`
}

// AccountSettings configure the one account, or name the file of several accounts.
type AccountSettings struct {
	Accounts string `env:"ROOMLINK_ACCOUNTS" group:"account" type:"path" help:"A YAML file with several accounts. It replaces the account that the other settings describe."`
	Account  string `env:"ROOMLINK_ACCOUNT" default:"default" group:"account" help:"The name of the account."`
	accounts.Talkdesk
	TalkdeskBasicUser string   `env:"ROOMLINK_TALKDESK_BASIC_USER" group:"account" help:"The user that Talkdesk sends by HTTP Basic."`
	TalkdeskClientID  string   `env:"ROOMLINK_TALKDESK_CLIENT_ID" group:"account" help:"The client id with which Talkdesk fetches an access token from roomlink."`
	Subscribers       []string `env:"ROOMLINK_SUBSCRIBERS" group:"account" help:"Names of programs that read the account's links from the broker."`
	accounts.Links
	accounts.Application
}

// RoomSettings configure the calls to auvious.
type RoomSettings struct {
	accounts.Rooms

	Grace time.Duration `env:"ROOMLINK_GRACE" default:"20s" group:"operations" help:"The maximum time for current work to finish after a stop."`
}

// NATSSettings configure an external broker.
type NATSSettings struct {
	NATSURL   string `name:"nats-url" env:"ROOMLINK_NATS_URL" group:"broker" help:"The NATS servers, separated by commas. The default is the embedded broker."`
	NATSCreds string `name:"nats-creds" env:"ROOMLINK_NATS_CREDS" group:"broker" help:"A NATS credentials file."`
	NATSUser  string `name:"nats-user" env:"ROOMLINK_NATS_USER" group:"broker" help:"The user at the NATS servers."`

	NATSProvisionUser  string `name:"nats-provision-user" env:"ROOMLINK_NATS_PROVISION_USER" group:"broker" help:"The user that makes streams and consumers. The default is the user of the process."`
	NATSProvisionCreds string `name:"nats-provision-creds" env:"ROOMLINK_NATS_PROVISION_CREDS" group:"broker" help:"The NATS credentials file of the user that makes streams and consumers."`

	NATSCA   string `name:"nats-ca" env:"ROOMLINK_NATS_CA" group:"broker" help:"The certificate authorities of the NATS servers (PEM)."`
	NATSCert string `name:"nats-cert" env:"ROOMLINK_NATS_CERT" group:"broker" help:"The client certificate for the NATS servers (PEM)."`
	NATSKey  string `name:"nats-key" env:"ROOMLINK_NATS_KEY" group:"broker" help:"The key of the client certificate (PEM)."`

	NATSDomain string `name:"nats-domain" env:"ROOMLINK_NATS_DOMAIN" group:"broker" help:"The JetStream domain of the streams, if it is not that of the NATS servers."`
}

// StreamSettings configure the streams. They have no defaults here: an absent setting
// leaves an existing stream as it is.
type StreamSettings struct {
	Replicas        int           `env:"ROOMLINK_REPLICAS" group:"broker" help:"Replicas of each stream (1 on the embedded broker, otherwise 3)."`
	MaxBytes        ByteSize      `env:"ROOMLINK_MAX_BYTES" group:"broker" help:"The maximum size of the queue, with the unit KiB, MiB or GiB (1GiB)."`
	DuplicateWindow time.Duration `env:"ROOMLINK_DUPLICATE_WINDOW" group:"broker" help:"The time for which the broker remembers the message id of an event (2m)."`
	LinksMaxAge     time.Duration `env:"ROOMLINK_LINKS_MAX_AGE" group:"broker" help:"The time for which links are kept (720h)."`

	DeadLettersMaxAge time.Duration `env:"ROOMLINK_DEAD_LETTERS_MAX_AGE" group:"broker" help:"The time for which dead letters are kept (720h)."`
}

// StoreSettings say where the embedded broker is.
type StoreSettings struct {
	DataDir      string `env:"ROOMLINK_DATA_DIR" default:"roomlink-data" group:"broker" help:"The data directory of the embedded broker."`
	BrokerListen string `env:"ROOMLINK_BROKER_LISTEN" default:"127.0.0.1:4222" group:"broker" help:"The address of the embedded broker for other programs; \"off\" for none."`
}

// EmbeddedSettings configure the embedded broker.
type EmbeddedSettings struct {
	StoreSettings

	BrokerTLSCert       string `name:"broker-tls-cert" env:"ROOMLINK_BROKER_TLS_CERT" group:"broker" help:"The certificate of the embedded broker (PEM). roomlink reads it again after a change. It is required off loopback."`
	BrokerTLSKey        string `name:"broker-tls-key" env:"ROOMLINK_BROKER_TLS_KEY" group:"broker" help:"The key of the broker's certificate (PEM)."`
	InsecurePlainBroker bool   `group:"broker" help:"Let the embedded broker send passwords and tickets in plain text off loopback."`

	Sync   SyncInterval `env:"ROOMLINK_SYNC" default:"always" group:"broker" help:"When the embedded broker syncs its store to the disk: \"always\" or an interval."`
	OnLoss string       `env:"ROOMLINK_ON_LOSS" default:"continue" enum:"continue,refuse" group:"broker" help:"What a start does after the store of the embedded broker has lost messages: ${enum}."`
}

// PageSettings configure the addresses of pages.
type PageSettings struct {
	PublicURL    string        `name:"public-url" env:"ROOMLINK_PUBLIC_URL" group:"public" help:"The URL of the public HTTP for agents, customers and Talkdesk. It is required off loopback."`
	PageLifetime time.Duration `env:"ROOMLINK_PAGE_LIFETIME" default:"24h" group:"public" help:"The minimum lifetime of the addresses of pages. An address changes after a 24th of it."`
}

// PublicSettings configure the public HTTP.
type PublicSettings struct {
	PageSettings

	Listen         string        `env:"ROOMLINK_LISTEN" default:":8080" group:"public" help:"The address of the public HTTP."`
	TLSCert        string        `name:"tls-cert" env:"ROOMLINK_TLS_CERT" group:"public" help:"The certificate of the public HTTP (PEM). roomlink reads it again after a change. Without one the public HTTP is plain, behind a proxy that terminates TLS."`
	TLSKey         string        `name:"tls-key" env:"ROOMLINK_TLS_KEY" group:"public" help:"The key of the certificate (PEM)."`
	TokenLifetime  time.Duration `env:"ROOMLINK_TOKEN_LIFETIME" default:"1h" group:"public" help:"The lifetime of the access tokens that roomlink issues."`
	MaxConnections int           `env:"ROOMLINK_MAX_CONNECTIONS" default:"10000" group:"public" help:"Maximum connections of the public HTTP, and fewer if the process has few file descriptors. For a new one the longest idle one is closed."`
	ActionTimeout  time.Duration `env:"ROOMLINK_ACTION_TIMEOUT" default:"4s" group:"public" help:"The maximum time for which an Execute Action waits for its links."`
	TrustedProxies []string      `env:"ROOMLINK_TRUSTED_PROXIES" group:"public" help:"Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto count."`
	InsecureNoAuth bool          `group:"public" help:"Accept requests without credentials if none are configured. Only on loopback."`
}

// FrameSettings say who may frame the card.
type FrameSettings struct {
	FrameAncestors []string `env:"ROOMLINK_FRAME_ANCESTORS" default:"https://*.mytalkdesk.com" group:"public" help:"Sites that may show the card in a frame."`
}

// OperationsSettings configure the operations HTTP.
type OperationsSettings struct {
	OpsListen string `env:"ROOMLINK_OPS_LISTEN" default:"127.0.0.1:9090" group:"operations" help:"The address of health checks and metrics."`
}

// The secrets, by the names of their variables.
const (
	AuviousSecret  = "ROOMLINK_AUVIOUS_CLIENT_SECRET"
	TalkdeskKey    = "ROOMLINK_TALKDESK_API_KEY"
	TalkdeskSecret = "ROOMLINK_TALKDESK_CLIENT_SECRET"
	TalkdeskBasic  = "ROOMLINK_TALKDESK_BASIC_PASSWORD"
	LinkKey        = "ROOMLINK_LINK_KEY"
	NATSPassword   = "ROOMLINK_NATS_PASSWORD"
	NATSProvision  = "ROOMLINK_NATS_PROVISION_PASSWORD"
	OpsToken       = "ROOMLINK_OPS_TOKEN"
)

// SecretSetting is a secret setting and its help.
type SecretSetting struct{ Name, Help string }

// Secrets returns all secret settings, for help and documentation.
func Secrets() []SecretSetting {
	return []SecretSetting{
		{AuviousSecret, "The client secret of auvious' client credentials."},
		{TalkdeskKey, "The key that Talkdesk sends as X-API-Key."},
		{TalkdeskBasic, "The password that Talkdesk sends by HTTP Basic."},
		{TalkdeskSecret, "The client secret with which Talkdesk fetches an access token from roomlink."},
		{LinkKey, "The key that signs roomlink's tokens: at least 32 bytes. Two keys on a line each allow rotation: " +
			"the first one signs. \"serve\" writes a key to the data directory if there is none."},
		{NATSPassword, "The password at the NATS servers."},
		{NATSProvision, "The password of the user that makes streams and consumers."},
		{OpsToken, "The token for the profiles, if the operations HTTP is not on loopback."},
	}
}

// ParseSettings fills settings from arguments and defaults. It ignores the environment.
func ParseSettings(settings any, arguments ...string) error {
	return accounts.ParseSettings(settings, arguments...)
}

// ByteSize is a number of bytes. Its text may end in KiB, MiB or GiB.
type ByteSize int64

// UnmarshalText implements [encoding.TextUnmarshaler].
func (b *ByteSize) UnmarshalText(text []byte) error {
	number, shift := string(text), 0
	for suffix, by := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, shift = strings.TrimSpace(rest), by
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > (1<<62)>>shift {
		return fmt.Errorf("%q is not a size such as 512MiB or 1GiB", text)
	}
	*b = ByteSize(n << shift)
	return nil
}

// SyncInterval is the interval between two syncs; 0 for a sync after every write.
type SyncInterval time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *SyncInterval) UnmarshalText(text []byte) error {
	if string(text) == "always" {
		*s = 0
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is neither \"always\" nor an interval such as 2m", text)
	}
	*s = SyncInterval(d)
	return nil
}

// String returns the text of the setting.
func (s SyncInterval) String() string {
	if s == 0 {
		return "always"
	}
	return time.Duration(s).String()
}

// stream returns the settings for the store.
func (s StreamSettings) stream(embedded bool) store.StreamSettings {
	settings := store.StreamSettings{
		Replicas: s.Replicas, MaxBytes: int64(s.MaxBytes),
		DuplicateWindow: s.DuplicateWindow, LinksMaxAge: s.LinksMaxAge, DeadLettersMaxAge: s.DeadLettersMaxAge,
	}
	if !embedded {
		settings.NewReplicas = 3
	}
	return settings
}

// Remote returns how to connect to the external broker with a role. It returns a
// [UsageError] for settings that do not fit together.
func (s NATSSettings) Remote(env Environment, role broker.Role) (broker.RemoteConfig, error) {
	password, err := env.Secret(NATSPassword)
	if err != nil {
		return broker.RemoteConfig{}, err
	}
	provision, err := env.Secret(NATSProvision)
	if err != nil {
		return broker.RemoteConfig{}, err
	}
	switch {
	case (s.NATSCert == "") != (s.NATSKey == ""):
		return broker.RemoteConfig{}, Usagef("ROOMLINK_NATS_CERT and ROOMLINK_NATS_KEY belong together: set both")
	case (provision == "") != (s.NATSProvisionUser == ""):
		return broker.RemoteConfig{}, Usagef("ROOMLINK_NATS_PROVISION_USER and %s belong together: set both", NATSProvision)
	}
	return broker.RemoteConfig{
		URL: s.NATSURL, Role: role, Domain: s.NATSDomain,
		Login: broker.Login{
			CredentialsFile: s.NATSCreds, User: s.NATSUser, Password: password, PasswordFile: env.secretFile(NATSPassword),
		},
		Provisioner: broker.Login{
			CredentialsFile: s.NATSProvisionCreds, User: s.NATSProvisionUser, Password: provision,
			PasswordFile: env.secretFile(NATSProvision),
		},
		CAFile: s.NATSCA, CertFile: s.NATSCert, KeyFile: s.NATSKey,
	}, nil
}

// checkPublicURL returns the base of roomlink's own addresses, without a slash at its
// end.
func checkPublicURL(text string) (string, error) {
	parsed, err := web.ParseHTTPURL(text)
	if err != nil || parsed.RawQuery != "" || parsed.Fragment != "" {
		return "", Usagef("ROOMLINK_PUBLIC_URL %q is not an absolute http or https URL", text)
	}
	return strings.TrimRight(text, "/"), nil
}
