package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"roomlink/internal/broker"
	"roomlink/internal/secret"
	"roomlink/internal/store"
)

// The settings are the fields below, by flag or variable, and the secrets in
// secretSettings, by variable alone. The README's list is held to them by a test.

// logSettings say what is written to the log.
type logSettings struct {
	LogLevel  string `env:"ROOMLINK_LOG_LEVEL" default:"info" enum:"trace,debug,info,warn,error" group:"operations" help:"From which level on lines are logged: ${enum}."`
	LogFormat string `env:"ROOMLINK_LOG_FORMAT" default:"json" enum:"json,console" group:"operations" help:"How lines are logged: ${enum}."`
}

// accountSettings configure the one account, or name the file that configures
// several.
type accountSettings struct {
	Accounts          string   `env:"ROOMLINK_ACCOUNTS" group:"account" type:"path" help:"A YAML file with several accounts, in place of the one that the other settings describe."`
	Rate              float64  `env:"ROOMLINK_RATE" default:"0" group:"account" help:"Calls a second that an account may make of this process; 0 for any number."`
	Account           string   `env:"ROOMLINK_ACCOUNT" default:"default" group:"account" help:"The name of the account."`
	StartEvents       []string `env:"ROOMLINK_START_EVENTS" group:"account" help:"Names of Talkdesk's events that count as a start; by default every name with \"start\" in it."`
	TalkdeskBasicUser string   `env:"ROOMLINK_TALKDESK_BASIC_USER" group:"account" help:"The user that Talkdesk sends by HTTP Basic."`
	TalkdeskClientID  string   `env:"ROOMLINK_TALKDESK_CLIENT_ID" group:"account" help:"The client id with which Talkdesk fetches an access token from us."`

	// The application's id is here and not below, since it also bounds what an
	// Execute Action may ask for.
	AuviousApplicationID string `name:"auvious-application-id" env:"ROOMLINK_AUVIOUS_APPLICATION_ID" group:"account" help:"The application id of auvious."`
}

// auviousSettings say how rooms are made for the one account.
type auviousSettings struct {
	AuviousURL            string        `name:"auvious-url" env:"ROOMLINK_AUVIOUS_URL" default:"https://auvious.video" group:"account" help:"Where auvious is."`
	AuviousClientID       string        `name:"auvious-client-id" env:"ROOMLINK_AUVIOUS_CLIENT_ID" group:"account" help:"The client id of auvious' client credentials."`
	AuviousOrganizationID string        `name:"auvious-organization-id" env:"ROOMLINK_AUVIOUS_ORGANIZATION_ID" group:"account" help:"The organization id that goes to auvious."`
	AuviousDestination    string        `name:"auvious-destination" env:"ROOMLINK_AUVIOUS_DESTINATION" default:"standalone" group:"account" help:"The destination that goes to auvious."`
	AuviousURLBase        string        `name:"auvious-url-base" env:"ROOMLINK_AUVIOUS_URL_BASE" group:"account" help:"What the links begin with; by default auvious' URL."`
	TicketExpiration      time.Duration `env:"ROOMLINK_TICKET_EXPIRATION" default:"4h" group:"account" help:"How long a ticket is valid."`
	FacadeTimeout         time.Duration `env:"ROOMLINK_FACADE_TIMEOUT" default:"10s" group:"account" help:"How long a call of auvious may take."`
	Concurrency           int           `env:"ROOMLINK_CONCURRENCY" default:"64" group:"account" help:"Calls at once for an account in this process."`
	FacadeRate            float64       `env:"ROOMLINK_FACADE_RATE" default:"0" group:"account" help:"Calls a second that auvious gets for an account from this process; 0 for any number."`
	GiveUpAfter           time.Duration `env:"ROOMLINK_GIVE_UP_AFTER" default:"15m" group:"account" help:"How long after it was stored an event whose call failed becomes a dead letter."`
	UnknownRetries        int           `env:"ROOMLINK_UNKNOWN_RETRIES" default:"3" group:"account" help:"How often an event is tried again after a call of unknown outcome."`
	AllowHTTPHosts        []string      `name:"allow-http-hosts" env:"ROOMLINK_ALLOW_HTTP_HOSTS" group:"account" help:"Hosts besides loopback whose URLs may be http."`
	Grace                 time.Duration `env:"ROOMLINK_GRACE" default:"20s" group:"operations" help:"How long work under way may take to finish after a stop."`
}

// natsSettings say how to reach an external broker.
type natsSettings struct {
	NatsURL   string `name:"nats-url" env:"ROOMLINK_NATS_URL" group:"broker" help:"The NATS servers, with commas between; by default the embedded broker."`
	NatsCreds string `env:"ROOMLINK_NATS_CREDS" group:"broker" help:"A NATS credentials file."`
	NatsUser  string `env:"ROOMLINK_NATS_USER" group:"broker" help:"The user at the NATS servers."`
	NatsCA    string `name:"nats-ca" env:"ROOMLINK_NATS_CA" group:"broker" help:"The certificate authorities of the NATS servers (PEM)."`
	NatsCert  string `env:"ROOMLINK_NATS_CERT" group:"broker" help:"Our certificate for the NATS servers (PEM)."`
	NatsKey   string `env:"ROOMLINK_NATS_KEY" group:"broker" help:"The key of that certificate (PEM)."`
}

// streamSettings are what an operator may choose about the streams. They have no
// defaults here: what is not set is left as the streams have it.
type streamSettings struct {
	Replicas        int           `env:"ROOMLINK_REPLICAS" group:"broker" help:"Replicas of each stream (1 on the embedded broker, else 3)."`
	MaxBytes        byteSize      `env:"ROOMLINK_MAX_BYTES" group:"broker" help:"The size of the queue; takes KiB, MiB and GiB (1GiB)."`
	DuplicateWindow time.Duration `env:"ROOMLINK_DUPLICATE_WINDOW" group:"broker" help:"How long the broker remembers an event's message id (2m)."`
	LinksMaxAge     time.Duration `env:"ROOMLINK_LINKS_MAX_AGE" group:"broker" help:"How long links are kept (720h)."`
}

// storeSettings say where the embedded broker is.
type storeSettings struct {
	DataDir      string `env:"ROOMLINK_DATA_DIR" default:"roomlink-data" group:"broker" help:"The data directory of the embedded broker."`
	BrokerListen string `env:"ROOMLINK_BROKER_LISTEN" default:"127.0.0.1:4222" group:"broker" help:"Where others reach the embedded broker; \"off\" for nowhere."`
}

// embeddedSettings say how the embedded broker runs.
type embeddedSettings struct {
	storeSettings
	Sync syncInterval `env:"ROOMLINK_SYNC" default:"always" group:"broker" help:"When the embedded broker syncs its store to the disk: \"always\" or an interval."`
}

// pageSettings say what the addresses of pages are.
type pageSettings struct {
	PublicURL    string        `name:"public-url" env:"ROOMLINK_PUBLIC_URL" group:"public" help:"Where others reach the public HTTP; needed off loopback."`
	PageLifetime time.Duration `env:"ROOMLINK_PAGE_LIFETIME" default:"24h" group:"public" help:"How long the addresses of pages are valid, at least; those made within a 24th of it are mostly the same."`
}

// publicSettings say how the public HTTP is reached.
type publicSettings struct {
	pageSettings

	Listen         string        `env:"ROOMLINK_LISTEN" default:":8080" group:"public" help:"The address of the public HTTP."`
	TLSCert        string        `name:"tls-cert" env:"ROOMLINK_TLS_CERT" group:"public" help:"The certificate of the public HTTP (PEM), read again when it changes; without one it is plain, for a proxy that ends TLS."`
	TLSKey         string        `name:"tls-key" env:"ROOMLINK_TLS_KEY" group:"public" help:"The key of that certificate (PEM)."`
	TokenLifetime  time.Duration `env:"ROOMLINK_TOKEN_LIFETIME" default:"1h" group:"public" help:"How long our own access tokens are valid."`
	ActionTimeout  time.Duration `env:"ROOMLINK_ACTION_TIMEOUT" default:"4s" group:"public" help:"How long an Execute Action waits for its links."`
	InsecureNoAuth bool          `group:"public" help:"Let everybody in, if no credentials of Talkdesk are configured. On loopback alone."`
}

// viewerSettings say who may frame the card.
type viewerSettings struct {
	FrameAncestors []string `env:"ROOMLINK_FRAME_ANCESTORS" default:"https://*.mytalkdesk.com" group:"public" help:"Sites that may show the card in a frame."`
}

// opsSettings say how the operator reaches us.
type opsSettings struct {
	OpsListen string `env:"ROOMLINK_OPS_LISTEN" default:"127.0.0.1:9090" group:"operations" help:"The address of health and metrics."`
}

// secretSetting is a secret, by the variable of that name or a file that the
// variable with _FILE behind it names.
type secretSetting struct{ name, help string }

// The secrets.
const (
	auviousSecret  = "ROOMLINK_AUVIOUS_CLIENT_SECRET"
	talkdeskKey    = "ROOMLINK_TALKDESK_API_KEY"
	talkdeskSecret = "ROOMLINK_TALKDESK_CLIENT_SECRET"
	talkdeskBasic  = "ROOMLINK_TALKDESK_BASIC_PASSWORD"
	linkKey        = "ROOMLINK_LINK_KEY"
	natsPassword   = "ROOMLINK_NATS_PASSWORD"
	opsToken       = "ROOMLINK_OPS_TOKEN"
)

// secretSettings lists them for the help and the README.
var secretSettings = []secretSetting{
	{auviousSecret, "The client secret of auvious' client credentials."},
	{talkdeskKey, "The key that Talkdesk sends as X-API-Key."},
	{talkdeskBasic, "The password that Talkdesk sends by HTTP Basic."},
	{talkdeskSecret, "The client secret with which Talkdesk fetches an access token from us."},
	{linkKey, "Signs our tokens: at least 32 bytes, or two such keys on a line each, of which the first signs. " +
		"\"serve\" makes its own in the data directory."},
	{natsPassword, "The password at the NATS servers."},
	{opsToken, "Opens the profiles where the operations' address is not on loopback."},
}

// secretOf reads a secret from its variable or its file; "" if neither is set.
func (w world) secretOf(name string) (secret.String, error) {
	value, _ := w.lookup(name)
	path, _ := w.lookup(name + "_FILE")
	switch {
	case value != "" && path != "":
		return "", usagef("%s and %s_FILE are both set: set one", name, name)
	case path == "":
		return secret.String(value), nil
	}
	read, err := secret.ReadFile(path)
	if err != nil {
		return "", usagef("%s_FILE: %w", name, err)
	}
	return read, nil
}

// helpWithSecrets prints kong's help, and the secrets behind that of a command
// which has settings.
func helpWithSecrets(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	if node := ctx.Selected(); node == nil || !runsParts[node.Name] {
		return nil
	}
	fmt.Fprint(ctx.Stdout, "\nSecrets, by variable or by file (with _FILE behind the name), never by flag:\n")
	for _, s := range secretSettings {
		fmt.Fprintf(ctx.Stdout, "  %s\n      %s\n", s.name, s.help)
	}
	return nil
}

// runsParts are the commands that read secrets.
var runsParts = map[string]bool{"serve": true, "webhook": true, "worker": true, "viewer": true}

// byteSize is a number of bytes, with KiB, MiB or GiB behind it or none.
type byteSize int64

// UnmarshalText implements [encoding.TextUnmarshaler].
func (b *byteSize) UnmarshalText(text []byte) error {
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
	*b = byteSize(n << shift)
	return nil
}

// syncInterval is an interval between syncs; 0 is "always".
type syncInterval time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *syncInterval) UnmarshalText(text []byte) error {
	if string(text) == "always" {
		*s = 0
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is neither \"always\" nor an interval such as 2m", text)
	}
	*s = syncInterval(d)
	return nil
}

// String is the interval as it is written.
func (s syncInterval) String() string {
	if s == 0 {
		return "always"
	}
	return time.Duration(s).String()
}

func (s streamSettings) messages(embedded bool) store.StreamSettings {
	settings := store.StreamSettings{
		Replicas: s.Replicas, MaxBytes: int64(s.MaxBytes),
		DuplicateWindow: s.DuplicateWindow, LinksMaxAge: s.LinksMaxAge,
	}
	if settings.Replicas == 0 && !embedded {
		settings.NewReplicas = 3
	}
	return settings
}

func (s natsSettings) remote(w world) (broker.RemoteConfig, error) {
	password, err := w.secretOf(natsPassword)
	if err != nil {
		return broker.RemoteConfig{}, err
	}
	if (s.NatsCert == "") != (s.NatsKey == "") {
		return broker.RemoteConfig{}, usagef("ROOMLINK_NATS_CERT and ROOMLINK_NATS_KEY belong together: set both")
	}
	return broker.RemoteConfig{
		URL: s.NatsURL, CredentialsFile: s.NatsCreds,
		User: s.NatsUser, Password: password,
		CAFile: s.NatsCA, CertFile: s.NatsCert, KeyFile: s.NatsKey,
	}, nil
}

// checkPublicURL wants the base of our own addresses.
func checkPublicURL(text string) (string, error) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Hostname() == "" || parsed.User != nil || parsed.RawQuery != "" ||
		parsed.Fragment != "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return "", usagef("ROOMLINK_PUBLIC_URL %q is not an absolute http or https URL", text)
	}
	return strings.TrimRight(text, "/"), nil
}
