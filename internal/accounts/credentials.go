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

func (c Credentials) readSecrets(read func(path string) (secret.String, error)) error {
	for i := range c.APIKeys {
		key := &c.APIKeys[i]
		if err := readCredential(&key.Key, key.Name, "-", key.File, read); err != nil {
			return err
		}
	}
	for i := range c.Basic {
		basic := &c.Basic[i]
		if err := readCredential(&basic.Password, basic.Name, basic.User, basic.PasswordFile, read); err != nil {
			return err
		}
	}
	for i := range c.Clients {
		client := &c.Clients[i]
		if err := readCredential(&client.Secret, client.Name, client.ID, client.SecretFile, read); err != nil {
			return err
		}
	}
	return nil
}

func readCredential(
	to *secret.String, name, id, file string, read func(path string) (secret.String, error),
) (err error) {
	if name == "" || id == "" || file == "" {
		return errIncomplete
	}
	*to, err = read(file)
	return err
}
