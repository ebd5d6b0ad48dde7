package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"roomlink/internal/access"
	"roomlink/internal/secret"
)

// accountsFile is the YAML of ROOMLINK_ACCOUNTS. Paths in it are relative to it.
type accountsFile struct {
	Accounts []accountEntry `yaml:"accounts"`
}

type accountEntry struct {
	Name     string        `yaml:"name"`
	Talkdesk talkdeskEntry `yaml:"talkdesk"`
	Auvious  auviousEntry  `yaml:"auvious"`
}

// talkdeskEntry has several credentials of each kind, so that they can be
// rotated.
type talkdeskEntry struct {
	APIKeys []struct {
		Name string `yaml:"name"`
		File string `yaml:"file"`
	} `yaml:"apiKeys"`
	Basic []struct {
		Name         string `yaml:"name"`
		User         string `yaml:"user"`
		PasswordFile string `yaml:"passwordFile"`
	} `yaml:"basic"`
	Clients []struct {
		Name       string `yaml:"name"`
		ID         string `yaml:"id"`
		SecretFile string `yaml:"secretFile"`
	} `yaml:"clients"`
	StartEvents []string `yaml:"startEvents"`
	Rate        *float64 `yaml:"rate"`
}

// auviousEntry has pointers where a zero would be a word of its own.
type auviousEntry struct {
	URL              string         `yaml:"url"`
	ClientID         string         `yaml:"clientId"`
	ClientSecretFile string         `yaml:"clientSecretFile"`
	ApplicationID    string         `yaml:"applicationId"`
	OrganizationID   string         `yaml:"organizationId"`
	Destination      string         `yaml:"destination"`
	URLBase          string         `yaml:"urlBase"`
	TicketExpiration *time.Duration `yaml:"ticketExpiration"`
	Timeout          *time.Duration `yaml:"timeout"`
	Concurrency      *int           `yaml:"concurrency"`
	Rate             *float64       `yaml:"rate"`
}

// readFile reads the accounts file. Its errors name the line.
func (r *accountReader) readFile() ([]account, error) {
	path := r.settings.Accounts
	r.files = []string{path}
	for _, name := range []string{auviousSecret, talkdeskKey, talkdeskBasic, talkdeskSecret} {
		if value, err := r.world.secretOf(name); err != nil || value != "" {
			return nil, fmt.Errorf("%s is for a single account: with ROOMLINK_ACCOUNTS, name its file in there", name)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file accountsFile
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(file.Accounts) == 0 {
		return nil, fmt.Errorf("%s: there are no accounts in it", path)
	}
	lines := entryLines(data)
	first := map[string]int{}
	var accounts []account
	for i, entry := range file.Accounts {
		if other, twice := first[entry.Name]; twice {
			return nil, fmt.Errorf("%s: line %d: account %q is there already, in line %d", path, lines[i], entry.Name, other)
		}
		first[entry.Name] = lines[i]
		made, err := r.account(entry)
		if err == nil {
			err = r.check(made)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: account %q: %w", path, lines[i], entry.Name, err)
		}
		accounts = append(accounts, made)
	}
	return accounts, nil
}

// entryLines are the lines on which the accounts begin.
func entryLines(data []byte) []int {
	var root struct {
		Accounts []yaml.Node `yaml:"accounts"`
	}
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil // the strict reading has told of it
	}
	var lines []int
	for _, node := range root.Accounts {
		lines = append(lines, node.Line)
	}
	return lines
}

func (r *accountReader) account(entry accountEntry) (account, error) {
	made := account{
		name: entry.Name, credentials: access.Account{Name: entry.Name},
		startEvents: entry.Talkdesk.StartEvents, rate: valueOr(entry.Talkdesk.Rate, r.settings.Rate),
		rooms: r.defaults(),
	}
	a, to := entry.Auvious, &made.rooms
	to.url = cmp.Or(a.URL, to.url)
	to.urlBase = cmp.Or(a.URLBase, to.urlBase)
	to.destination = cmp.Or(a.Destination, to.destination)
	to.clientID, to.applicationID, to.organizationID = a.ClientID, a.ApplicationID, a.OrganizationID
	to.ticketExpiration = valueOr(a.TicketExpiration, to.ticketExpiration)
	to.timeout = valueOr(a.Timeout, to.timeout)
	to.concurrency = valueOr(a.Concurrency, to.concurrency)
	to.rate = valueOr(a.Rate, to.rate)
	if r.wantsCredentials {
		if err := r.talkdesk(entry.Talkdesk, &made.credentials); err != nil {
			return account{}, err
		}
	}
	var err error
	if r.rooms != nil && a.ClientSecretFile != "" {
		to.clientSecret, err = r.secret(a.ClientSecretFile)
	}
	return made, err
}

func (r *accountReader) talkdesk(entry talkdeskEntry, to *access.Account) error {
	add := func(group *[]access.Credential, name, id, file string, wantID bool) error {
		if name == "" || file == "" || wantID && id == "" {
			return errors.New("each of Talkdesk's credentials has a name, a file, and a user or id where it needs one")
		}
		value, err := r.secret(file)
		if err != nil {
			return err
		}
		*group = append(*group, access.Credential{Name: name, ID: id, Secret: value})
		return nil
	}
	for _, key := range entry.APIKeys {
		if err := add(&to.APIKeys, key.Name, "", key.File, false); err != nil {
			return err
		}
	}
	for _, basic := range entry.Basic {
		if err := add(&to.Basic, basic.Name, basic.User, basic.PasswordFile, true); err != nil {
			return err
		}
	}
	for _, client := range entry.Clients {
		if err := add(&to.Clients, client.Name, client.ID, client.SecretFile, true); err != nil {
			return err
		}
	}
	return nil
}

// secret reads a secret whose path is relative to the accounts file.
func (r *accountReader) secret(path string) (secret.String, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(r.settings.Accounts), path)
	}
	r.files = append(r.files, path)
	return secret.ReadFile(path)
}

// valueOr is what a pointer names, or a fallback.
func valueOr[T any](p *T, fallback T) T {
	if p != nil {
		return *p
	}
	return fallback
}
