package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/secret"
	"roomlink/messages"
	"roomlink/webhook"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// account is one account with all that is configured for it. Two that are deeply
// equal are configured alike.
type account struct {
	name        string
	credentials access.Account
	startEvents []string
	// rate is how many events a second it may post; 0 for any number.
	rate  float64
	rooms rooms
}

// rooms says how the rooms of an account are made.
type rooms struct {
	url, clientID    string
	clientSecret     secret.String
	applicationID    string
	organizationID   string
	destination      string
	urlBase          string
	ticketExpiration time.Duration
	timeout          time.Duration
	concurrency      int
	// rate is how many calls a second auvious gets; 0 for any number.
	rate float64

	// The same for every account.
	giveUpAfter    time.Duration
	unknownRetries int
	allowHTTPHosts []string
}

// webhook returns what the webhook needs to know of the account.
func (a account) webhook() webhook.Account {
	return webhook.Account{
		Name: a.name, StartEvents: a.startEvents, ApplicationID: a.rooms.applicationID, Rate: a.rate,
	}
}

// worker returns how the rooms of the account are made, with a client of its own
// that the worker closes.
func (a account) worker() (worker.Account, error) {
	client, err := auvious.New(auvious.Config{
		URL: a.rooms.url, ClientID: a.rooms.clientID, ClientSecret: a.rooms.clientSecret,
		Timeout: a.rooms.timeout, Concurrency: a.rooms.concurrency, AllowHTTPHosts: a.rooms.allowHTTPHosts,
	})
	if err != nil {
		return worker.Account{}, err
	}
	return worker.Account{
		Name: a.name, Facade: client,
		ApplicationID: a.rooms.applicationID, OrganizationID: a.rooms.organizationID,
		Destination: a.rooms.destination, URLBase: cmp.Or(a.rooms.urlBase, a.rooms.url),
		TicketExpiration: a.rooms.ticketExpiration, Concurrency: a.rooms.concurrency, Rate: a.rooms.rate,
		GiveUpAfter: a.rooms.giveUpAfter, UnknownRetries: a.rooms.unknownRetries,
	}, nil
}

// check finds what no account may have.
func (a account) check() error {
	if err := messages.ValidateAccount(a.name); err != nil {
		return err
	}
	if a.rate < 0 {
		return errors.New("rate is never negative")
	}
	return nil
}

// check finds what keeps rooms from being made.
func (r rooms) check() error {
	switch {
	case r.concurrency < 1 || r.concurrency > 4096:
		return fmt.Errorf("concurrency is %d: want 1 to 4096", r.concurrency)
	case r.rate < 0:
		return errors.New("auvious' rate is never negative")
	case r.unknownRetries < 0:
		return errors.New("the retries after an unknown outcome are never negative")
	case r.ticketExpiration < time.Second || r.timeout <= 0 || r.giveUpAfter <= 0:
		return errors.New("ticket expiration, time-out and give-up time must be more than 0")
	}
	return nil
}

// accountReader reads the accounts of a process, from the settings or from the
// file that they name, and knows which files it read.
type accountReader struct {
	world    world
	settings accountSettings
	// rooms are nil in a process that makes none, and needs no secret of auvious.
	rooms *auviousSettings
	// wantsCredentials is false in a process that Talkdesk does not call.
	wantsCredentials bool

	files []string
}

// read reads the accounts anew. Its errors say what to mend.
func (r *accountReader) read() ([]account, error) {
	if r.settings.Accounts != "" {
		return r.readFile()
	}
	r.files = nil
	made, err := r.readSettings()
	if err == nil {
		err = r.check(made)
	}
	if err != nil {
		return nil, err
	}
	return []account{made}, nil
}

// readSettings returns the one account that flags and variables configure.
func (r *accountReader) readSettings() (account, error) {
	s := r.settings
	if err := messages.ValidateAccount(s.Account); err != nil {
		return account{}, fmt.Errorf("ROOMLINK_ACCOUNT: %w", err)
	}
	made := account{
		name: s.Account, credentials: access.Account{Name: s.Account},
		startEvents: s.StartEvents, rate: s.Rate, rooms: r.defaults(),
	}
	made.rooms.applicationID = s.AuviousApplicationID
	var err error
	if r.rooms != nil {
		made.rooms.clientID, made.rooms.organizationID = r.rooms.AuviousClientID, r.rooms.AuviousOrganizationID
		if made.rooms.clientSecret, err = r.secretOf(auviousSecret); err != nil {
			return account{}, err
		}
	}
	if r.wantsCredentials {
		made.credentials, err = r.credentials()
	}
	return made, err
}

// secretOf reads a secret and remembers its file.
func (r *accountReader) secretOf(name string) (secret.String, error) {
	if path, ok := r.world.lookup(name + "_FILE"); ok && path != "" {
		r.files = append(r.files, path)
	}
	return r.world.secretOf(name)
}

// check finds what an account must not have, or lacks.
func (r *accountReader) check(a account) error {
	if err := a.check(); err != nil {
		return err
	}
	if r.rooms == nil {
		return nil
	}
	if a.rooms.clientID == "" || a.rooms.clientSecret == "" {
		return fmt.Errorf("auvious' client credentials are needed: "+
			"ROOMLINK_AUVIOUS_CLIENT_ID and %s, or clientId and clientSecretFile", auviousSecret)
	}
	if err := a.rooms.check(); err != nil {
		return err
	}
	probe, err := a.worker()
	if err == nil {
		closeFacade(probe)
	}
	return err
}

// closeFacade closes the client of an account that no worker takes on.
func closeFacade(a worker.Account) {
	if facade, ok := a.Facade.(*auvious.Client); ok {
		facade.Close()
	}
}

// credentials returns what Talkdesk may send for the one account.
func (r *accountReader) credentials() (access.Account, error) {
	s := r.settings
	found := access.Account{Name: s.Account}
	for _, way := range []struct {
		variable, idVariable, id string
		to                       *[]access.Credential
	}{
		{talkdeskKey, "", "", &found.APIKeys},
		{talkdeskBasic, "ROOMLINK_TALKDESK_BASIC_USER", s.TalkdeskBasicUser, &found.Basic},
		{talkdeskSecret, "ROOMLINK_TALKDESK_CLIENT_ID", s.TalkdeskClientID, &found.Clients},
	} {
		value, err := r.secretOf(way.variable)
		if err != nil {
			return found, err
		}
		if way.idVariable != "" && (value == "") != (way.id == "") {
			return found, fmt.Errorf("%s and %s belong together: set both", way.idVariable, way.variable)
		}
		if value != "" {
			*way.to = []access.Credential{{Name: strings.ToLower(way.variable), ID: way.id, Secret: value}}
		}
	}
	return found, nil
}

// defaults are what the settings say of every account's rooms.
func (r *accountReader) defaults() rooms {
	if r.rooms == nil {
		return rooms{}
	}
	s := r.rooms
	return rooms{
		url: s.AuviousURL, destination: s.AuviousDestination, urlBase: s.AuviousURLBase,
		ticketExpiration: s.TicketExpiration, timeout: s.FacadeTimeout,
		concurrency: s.Concurrency, rate: s.FacadeRate,
		giveUpAfter: s.GiveUpAfter, unknownRetries: s.UnknownRetries, allowHTTPHosts: s.AllowHTTPHosts,
	}
}

// linkKeys reads the keys that sign our tokens, one a line.
func linkKeys(text secret.String) (*access.Keys, error) {
	var keys []secret.String
	for line := range strings.Lines(text.Reveal()) {
		keys = append(keys, secret.String(strings.TrimRight(line, "\r\n")))
	}
	made, err := access.NewKeys(keys...)
	if err != nil {
		return nil, usagef("%s: %w", linkKey, err)
	}
	return made, nil
}
