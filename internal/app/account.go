package app

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"roomlink/internal/accounts"
	"roomlink/internal/secret"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// accountReader reads the accounts of a process from its settings, or from the accounts
// file that they name.
type accountReader struct {
	env      Environment
	settings AccountSettings
	// rooms is nil in a process without a worker, which needs no secret of auvious.
	rooms *accounts.Rooms
	// credentials is true in a process that Talkdesk calls.
	credentials bool
	// passwords is true in a process that has subscribers as users of its broker.
	passwords bool

	// files are the files of the last read.
	files []string
}

// read reads the accounts. Its errors say what to change.
func (r *accountReader) read() (all []accounts.Account, err error) {
	if r.settings.Accounts == "" {
		r.files = nil
		if err := messages.ValidateAccount(r.settings.Account); err != nil {
			return nil, fmt.Errorf("ROOMLINK_ACCOUNT: %w", err)
		}
		one, err := r.readSettings()
		if err != nil {
			return nil, err
		}
		return []accounts.Account{one}, r.check(one)
	}
	if len(r.settings.Subscribers) > 0 {
		return nil, errors.New("ROOMLINK_SUBSCRIBERS is for a single account: with ROOMLINK_ACCOUNTS, name its subscribers there")
	}
	for _, name := range []string{AuviousSecret, TalkdeskKey, TalkdeskBasic, TalkdeskSecret} {
		if value, err := r.env.Secret(name); err != nil || value != "" {
			return nil, fmt.Errorf("%s is for a single account: with ROOMLINK_ACCOUNTS, name its file there", name)
		}
	}
	reader := accounts.Reader{
		Path: r.settings.Accounts, Base: r.base(), Credentials: r.credentials, Rooms: r.rooms != nil,
		Subscribers: r.passwords,
	}
	all, r.files, err = reader.Read(r.check)
	return all, err
}

// base returns the account that the settings describe, without its secrets.
func (r *accountReader) base() accounts.Account {
	s := r.settings
	base := accounts.Account{
		Name: s.Account, Talkdesk: s.Talkdesk, Links: s.Links, Auvious: accounts.Auvious{Application: s.Application},
	}
	if r.rooms != nil {
		base.Auvious.Rooms = *r.rooms
	}
	for _, name := range s.Subscribers {
		base.Subscribers = append(base.Subscribers, accounts.Subscriber{Name: name})
	}
	return base
}

// readSettings returns the account that the settings describe.
func (r *accountReader) readSettings() (accounts.Account, error) {
	one := r.base()
	var err error
	if r.rooms != nil {
		if one.Auvious.ClientSecret, err = r.secret(AuviousSecret); err != nil {
			return one, err
		}
	}
	if r.credentials {
		one.Talkdesk.Credentials, err = r.readCredentials()
	}
	return one, err
}

// secret reads a secret and records its file.
func (r *accountReader) secret(name string) (secret.String, error) {
	if path := r.env.secretFile(name); path != "" {
		r.files = append(r.files, path)
	}
	return r.env.Secret(name)
}

func (r *accountReader) readCredentials() (found accounts.Credentials, err error) {
	s := r.settings
	key, keyErr := r.secret(TalkdeskKey)
	password, basicErr := r.secret(TalkdeskBasic)
	clientSecret, secretErr := r.secret(TalkdeskSecret)
	switch err = cmp.Or(keyErr, basicErr, secretErr); {
	case err != nil:
		return found, err
	case (password == "") != (s.TalkdeskBasicUser == ""):
		return found, fmt.Errorf("ROOMLINK_TALKDESK_BASIC_USER and %s belong together: set both", TalkdeskBasic)
	case (clientSecret == "") != (s.TalkdeskClientID == ""):
		return found, fmt.Errorf("ROOMLINK_TALKDESK_CLIENT_ID and %s belong together: set both", TalkdeskSecret)
	}
	if key != "" {
		found.APIKeys = []accounts.APIKey{{Name: strings.ToLower(TalkdeskKey), Key: key}}
	}
	if password != "" {
		found.Basic = []accounts.Basic{{
			Name: strings.ToLower(TalkdeskBasic), User: s.TalkdeskBasicUser, Password: password,
		}}
	}
	if clientSecret != "" {
		found.Clients = []accounts.Client{{
			Name: strings.ToLower(TalkdeskSecret), ID: s.TalkdeskClientID, Secret: clientSecret,
		}}
	}
	return found, nil
}

// check returns an error for an account that this process cannot serve.
func (r *accountReader) check(a accounts.Account) error {
	if err := a.Check(); err != nil || r.rooms == nil {
		return err
	}
	if a.Auvious.ClientID == "" || a.Auvious.ClientSecret == "" {
		return fmt.Errorf("auvious' client credentials are missing: set "+
			"ROOMLINK_AUVIOUS_CLIENT_ID and %s, or clientId and clientSecretFile", AuviousSecret)
	}
	if err := a.Auvious.CheckRooms(); err != nil {
		return err
	}
	client, err := newFacade(a)
	if err == nil {
		client.Close()
	}
	return err
}

// newFacade returns a client for the rooms of an account.
func newFacade(a accounts.Account) (*auvious.Client, error) {
	return auvious.New(a.Auvious.Rooms, auvious.WithLinkHosts(a.LinkHosts))
}

// facades keeps the facade clients of the accounts.
type facades map[string]worker.Account

// workerAccounts returns the accounts with their facades. It keeps the client of an
// account whose rooms and links have not changed. The worker closes the others.
func (f facades) workerAccounts(all []accounts.Account) ([]worker.Account, error) {
	next := make([]worker.Account, 0, len(all))
	for _, a := range all {
		known, ok := f[a.Name]
		if !ok || !reflect.DeepEqual(known.Auvious, a.Auvious) || !reflect.DeepEqual(known.Links, a.Links) {
			client, err := newFacade(a)
			if err != nil {
				return nil, err
			}
			known.Facade = client
		}
		known.Account = a
		next = append(next, known)
	}
	clear(f)
	for _, a := range next {
		f[a.Name] = a
	}
	return next, nil
}

func names(all []accounts.Account) []string {
	var found []string
	for _, a := range all {
		found = append(found, a.Name)
	}
	return found
}
