// Package accounts describes the configuration of an account: whose calls roomlink
// accepts, and how auvious makes the account's rooms.
//
// [Account] is the only such type. Its fields have the tags of their flag, their
// variable, their key in the accounts file, their default and their help. So a new
// setting is one field here, one line of documentation and its use.
package accounts

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/alecthomas/kong"

	"roomlink/internal/secret"
	"roomlink/messages"
)

// Account is the configuration of one account.
type Account struct {
	Name     string   `yaml:"name"`
	Talkdesk Talkdesk `yaml:"talkdesk"`
	Links    `yaml:",inline"`
	Auvious  Auvious `yaml:"auvious"`
	// Subscribers read the links of the account from the broker.
	Subscribers []Subscriber `yaml:"subscribers"`
}

// Talkdesk configures the calls that Talkdesk makes.
type Talkdesk struct {
	Credentials `yaml:",inline" kong:"-"`

	StartEvents []string `yaml:"startEvents" env:"ROOMLINK_START_EVENTS" group:"account" help:"Names of Talkdesk's events that count as a start. By default, every name with \"start\" in it counts."`
	Rate        float64  `yaml:"rate" env:"ROOMLINK_RATE" default:"0" group:"account" help:"Maximum calls per second from an account to this process; 0 for no limit."`
}

// Auvious configures the rooms that auvious makes.
type Auvious struct {
	Application `yaml:",inline"`
	Rooms       `yaml:",inline"`
}

// Application is the part of [Auvious] that the webhook also needs: it bounds what an
// Execute Action may ask for.
type Application struct {
	ApplicationID string `yaml:"applicationId" name:"auvious-application-id" env:"ROOMLINK_AUVIOUS_APPLICATION_ID" group:"account" help:"The application id of auvious."`
}

// Rooms configures the calls to auvious' room facade.
type Rooms struct {
	URL              string        `yaml:"url" name:"auvious-url" env:"ROOMLINK_AUVIOUS_URL" default:"https://auvious.video" group:"account" help:"The URL of auvious."`
	ClientID         string        `yaml:"clientId" name:"auvious-client-id" env:"ROOMLINK_AUVIOUS_CLIENT_ID" group:"account" help:"The client id of auvious' client credentials."`
	ClientSecret     secret.String `yaml:"-" kong:"-"`
	ClientSecretFile string        `yaml:"clientSecretFile" kong:"-"`
	OrganizationID   string        `yaml:"organizationId" name:"auvious-organization-id" env:"ROOMLINK_AUVIOUS_ORGANIZATION_ID" group:"account" help:"The organization id in calls to auvious."`
	Destination      string        `yaml:"destination" name:"auvious-destination" env:"ROOMLINK_AUVIOUS_DESTINATION" default:"standalone" group:"account" help:"The destination in calls to auvious."`
	URLBase          string        `yaml:"urlBase" name:"auvious-url-base" env:"ROOMLINK_AUVIOUS_URL_BASE" group:"account" help:"The beginning of all links. The default is the URL of auvious."`
	TicketExpiration time.Duration `yaml:"ticketExpiration" env:"ROOMLINK_TICKET_EXPIRATION" default:"4h" group:"account" help:"The lifetime of a ticket."`
	Timeout          time.Duration `yaml:"timeout" name:"facade-timeout" env:"ROOMLINK_FACADE_TIMEOUT" default:"10s" group:"account" help:"The maximum duration of a call to auvious."`
	Concurrency      int           `yaml:"concurrency" env:"ROOMLINK_CONCURRENCY" default:"64" group:"account" help:"Maximum concurrent calls to auvious for an account in this process."`
	Rate             float64       `yaml:"rate" name:"facade-rate" env:"ROOMLINK_FACADE_RATE" default:"0" group:"account" help:"Maximum calls to auvious per second for an account from this process; 0 for no limit."`

	GiveUpAfter    time.Duration `yaml:"-" env:"ROOMLINK_GIVE_UP_AFTER" default:"15m" group:"account" help:"The age at which an event becomes a dead letter if its call fails."`
	UnknownRetries int           `yaml:"-" env:"ROOMLINK_UNKNOWN_RETRIES" default:"3" group:"account" help:"Maximum retries of an event after calls of unknown outcome."`
	AllowHTTPHosts []string      `yaml:"-" name:"allow-http-hosts" env:"ROOMLINK_ALLOW_HTTP_HOSTS" group:"account" help:"Hosts besides loopback whose URLs may be http."`
}

const maxConcurrency = 4096

// String returns the name alone, to keep credentials out of logs.
func (a Account) String() string { return fmt.Sprintf("account %q", a.Name) }

// Check returns an error for a name that breaks the contract, a negative rate, an impossible
// subscriber, or a link host that is none.
func (a Account) Check() error {
	if err := messages.ValidateAccount(a.Name); err != nil {
		return err
	}
	if a.Talkdesk.Rate < 0 {
		return errors.New("the rate must not be negative")
	}
	if err := checkSubscribers(a.Subscribers); err != nil {
		return err
	}
	return a.LinkHosts.Check()
}

// CheckRooms returns an error for a value with which no room can be made.
func (r Rooms) CheckRooms() error {
	switch {
	case r.Concurrency < 1 || r.Concurrency > maxConcurrency:
		return fmt.Errorf("concurrency is %d: want 1 to %d", r.Concurrency, maxConcurrency)
	case r.Rate < 0:
		return errors.New("the rate of auvious must not be negative")
	case r.UnknownRetries < 0:
		return errors.New("the retries after an unknown outcome must not be negative")
	case r.TicketExpiration < time.Second || r.Timeout <= 0 || r.GiveUpAfter <= 0:
		return errors.New("ticket expiration, time-out and give-up time must be greater than 0")
	}
	if _, err := ParseURLBase(r.URLBase); r.URLBase != "" && err != nil {
		return fmt.Errorf("ROOMLINK_AUVIOUS_URL_BASE (urlBase) %w", err)
	}
	return nil
}

// Default returns an account with the default of every setting and no credentials.
func Default(name string) Account {
	a := defaults()
	a.Name = name
	return a
}

// defaults reads the default tags.
var defaults = sync.OnceValue(func() Account {
	var settings struct {
		Talkdesk
		Links
		Application
		Rooms
	}
	if err := ParseSettings(&settings); err != nil {
		panic(err) // a tag is wrong
	}
	return Account{Talkdesk: settings.Talkdesk, Links: settings.Links, Auvious: Auvious{settings.Application, settings.Rooms}}
})

// ParseSettings fills settings from arguments and defaults. It ignores the environment.
func ParseSettings(settings any, arguments ...string) error {
	parser, err := kong.New(settings)
	if err != nil {
		return err
	}
	for _, flag := range parser.Model.Flags {
		flag.Envs, flag.Tag.Envs = nil, nil
	}
	_, err = parser.Parse(arguments)
	return err
}
