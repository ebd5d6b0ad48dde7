package accounts

import (
	"errors"

	"roomlink/internal/secret"
)

// Credentials admit Talkdesk to an account. Several of a kind allow rotation.
type Credentials struct {
	APIKeys []APIKey `yaml:"apiKeys"`
	Basic   []Basic  `yaml:"basic"`
	Clients []Client `yaml:"clients"`
}

// APIKey is a key that Talkdesk sends as X-API-Key.
type APIKey struct {
	// Name appears in logs.
	Name string        `yaml:"name"`
	Key  secret.String `yaml:"-"`
	File string        `yaml:"file"`
}

// Basic is a user with a password that Talkdesk sends by HTTP Basic.
type Basic struct {
	// Name appears in logs.
	Name         string        `yaml:"name"`
	User         string        `yaml:"user"`
	Password     secret.String `yaml:"-"`
	PasswordFile string        `yaml:"passwordFile"`
}

// Client is a client id with a secret, with which Talkdesk fetches an access token.
type Client struct {
	// Name appears in logs.
	Name       string        `yaml:"name"`
	ID         string        `yaml:"id"`
	Secret     secret.String `yaml:"-"`
	SecretFile string        `yaml:"secretFile"`
}

// Empty reports whether there are no credentials.
func (c Credentials) Empty() bool { return len(c.APIKeys)+len(c.Basic)+len(c.Clients) == 0 }

// errIncomplete reports a credential without one of its parts.
var errIncomplete = errors.New("each credential of Talkdesk needs a name, a file, and its user or id")

// readSecrets reads the file of each credential.
func (c Credentials) readSecrets(read func(path string) (secret.String, error)) (err error) {
	add := func(to *secret.String, name, id, file string) {
		switch {
		case err != nil:
		case name == "" || id == "" || file == "":
			err = errIncomplete
		default:
			*to, err = read(file)
		}
	}
	for i, key := range c.APIKeys {
		add(&c.APIKeys[i].Key, key.Name, "-", key.File)
	}
	for i, basic := range c.Basic {
		add(&c.Basic[i].Password, basic.Name, basic.User, basic.PasswordFile)
	}
	for i, client := range c.Clients {
		add(&c.Clients[i].Secret, client.Name, client.ID, client.SecretFile)
	}
	return err
}
