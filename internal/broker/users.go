package broker

import (
	"crypto/rand"
	_ "embed"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/crypto/bcrypt"

	"roomlink/internal/secret"
)

// The users of the embedded broker for other processes.
const (
	// OperatorUser is the user of our own commands.
	OperatorUser = "operator"
	// SubscriberUser reads the links if there is one account. With several accounts each has
	// its own subscriber; see [SubscriberName].
	SubscriberUser = "subscriber"
)

// SubscriberName returns the user that reads the links of an account if there are several
// accounts.
func SubscriberName(account string) string { return SubscriberUser + "-" + account }

// PasswordFile returns the file that contains the password of a user.
func PasswordFile(dir, user string) string { return filepath.Join(dir, user+".password") }

// ReadPassword reads the password of a user. The first start on a data directory writes it.
// Its errors are those of [secret.ReadFile].
func ReadPassword(dir, user string) (secret.String, error) {
	return secret.ReadFile(PasswordFile(dir, user))
}

//go:embed accounts.conf.tmpl
var accountsConf string

var accountsTemplate = template.Must(template.New("accounts.conf").Parse(accountsConf))

// users is the input of the template. Its passwords are hashes.
type users struct {
	Parts, Operator string
	OperatorInbox   string
	Subscribers     []subscriber
}

type subscriber struct{ Account, User, Password, Inbox string }

// accountsConfig returns the configuration of the server's accounts. It writes a password file
// for each user that has none.
func accountsConfig(dir string, accounts []string, parts secret.String) (string, error) {
	all := users{OperatorInbox: operatorInbox}
	var err error
	if all.Parts, err = hashPassword(parts); err != nil {
		return "", err
	}
	if all.Operator, err = hashedPassword(dir, OperatorUser); err != nil {
		return "", err
	}
	for _, account := range accounts {
		s := subscriber{Account: account, User: SubscriberUser, Inbox: "_INBOX"}
		if len(accounts) > 1 {
			s.User, s.Inbox = SubscriberName(account), "_INBOX_"+account
		}
		if s.Password, err = hashedPassword(dir, s.User); err != nil {
			return "", err
		}
		all.Subscribers = append(all.Subscribers, s)
	}
	var text strings.Builder
	err = accountsTemplate.Execute(&text, all)
	return text.String(), err
}

func hashedPassword(dir, user string) (string, error) {
	password, err := secret.EnsureFile(PasswordFile(dir, user), secret.String(rand.Text()))
	if err != nil {
		return "", err
	}
	return hashPassword(password)
}

// hashPassword uses the lowest cost, which is safe for long random passwords.
func hashPassword(password secret.String) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password.Reveal()), bcrypt.MinCost)
	if err != nil {
		return "", fmt.Errorf("hashing the password of a broker user: %w", err)
	}
	return string(hash), nil
}
