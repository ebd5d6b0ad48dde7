package broker

import (
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/crypto/bcrypt"

	"roomlink/internal/secret"
)

// The users of the embedded broker besides the parts themselves.
const (
	// OperatorUser is for our own commands.
	OperatorUser = "operator"
	// SubscriberUser reads the links of the only account; with several accounts
	// each has one of its own, by [SubscriberName].
	SubscriberUser = "subscriber"
)

// SubscriberName is the user that reads the links of an account, where there are
// several.
func SubscriberName(account string) string { return SubscriberUser + "-" + account }

// PasswordFile is where the first start writes the password of a user.
func PasswordFile(dir, user string) string { return filepath.Join(dir, user+".password") }

// ReadPassword reads the password of a user that the first start on a data
// directory wrote.
func ReadPassword(dir, user string) (secret.String, error) {
	return secret.ReadFile(PasswordFile(dir, user))
}

//go:embed accounts.conf.tmpl
var accountsConf string

var accountsTemplate = template.Must(template.New("accounts.conf").Parse(accountsConf))

// users are what the configuration of the server's accounts is made of. Passwords
// are hashes.
type users struct {
	Parts, Operator string
	OperatorInbox   string
	Subscribers     []subscriber
}

type subscriber struct{ Account, User, Password, Inbox string }

// accountsConfig returns the configuration of the server's accounts. It makes a
// password for every outsider that has none yet.
func accountsConfig(dir string, accounts []string, parts secret.String) (string, error) {
	all := users{OperatorInbox: operatorInbox}
	var err error
	if all.Parts, err = hashed(parts); err != nil {
		return "", err
	}
	if all.Operator, err = hashedOf(dir, OperatorUser); err != nil {
		return "", err
	}
	for _, account := range accounts {
		s := subscriber{Account: account, User: SubscriberUser, Inbox: "_INBOX"}
		if len(accounts) > 1 {
			s.User, s.Inbox = SubscriberName(account), "_INBOX_"+account
		}
		if s.Password, err = hashedOf(dir, s.User); err != nil {
			return "", err
		}
		all.Subscribers = append(all.Subscribers, s)
	}
	var text strings.Builder
	err = accountsTemplate.Execute(&text, all)
	return text.String(), err
}

// hashedOf returns the password of an outsider as the server keeps it.
func hashedOf(dir, user string) (string, error) {
	password, err := passwordIn(PasswordFile(dir, user))
	if err != nil {
		return "", err
	}
	return hashed(password)
}

// hashed is a password as the server keeps it. Ours are random and long, so the
// cheapest hash tells nothing.
func hashed(password secret.String) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password.Reveal()), bcrypt.MinCost)
	if err != nil {
		return "", fmt.Errorf("hashing the password of a broker user: %w", err)
	}
	return string(hash), nil
}

// passwordIn reads a password, or makes one and writes it for the next time.
func passwordIn(path string) (secret.String, error) {
	password, err := secret.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return password, err
	}
	password = secret.String(rand.Text())
	if err := secret.WriteFile(path, password); err != nil {
		return "", fmt.Errorf("writing the password of a broker user: %w", err)
	}
	return password, nil
}
