package broker

import (
	"crypto/rand"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/crypto/bcrypt"

	"roomlink/internal/secret"
	"roomlink/messages"
)

// OperatorPassword returns the file with the operator's password. The first start on a data
// directory writes it.
func OperatorPassword(dir string) string { return filepath.Join(dir, "operator.password") }

// SubscriberPassword returns the file with the password of a subscriber that was configured
// without one. The first start with the subscriber writes it.
func SubscriberPassword(dir, user string) string {
	return filepath.Join(dir, "subscribers", user+".password")
}

// Subscriber is a NATS user that reads the links of an account.
type Subscriber struct {
	Account, Name string
	// Password is empty for one from [SubscriberPassword].
	Password secret.String
	// DeadLetters lets the subscriber also read dead letters.
	DeadLetters bool
}

// User returns the name of the NATS user, which is also that of its NATS account.
func (s Subscriber) User() string { return s.Name + "@" + s.Account }

//go:embed users.conf.tmpl
var usersConf string

var usersTemplate = template.Must(template.New("users.conf").Parse(usersConf))

// users is the input of the template. Passwords are values of NATS' configuration: a quoted
// string, or a variable.
type users struct {
	Users       []partUser
	Subscribers []subscriberUser
}

type partUser struct {
	permissions

	About    string
	Name     Role
	Password string
}

type subscriberUser struct {
	Subscriber

	Password, Durable string
}

// newUsers returns the users with the passwords that the functions return.
func newUsers(
	roles []Role, subscribers []Subscriber, embedded bool,
	part func(Role) string, subscriber func(Subscriber) string,
) users {
	var all users
	for _, role := range roles {
		all.Users = append(all.Users, partUser{role.permissions(embedded), role.about(), role, part(role)})
	}
	for _, s := range subscribers {
		all.Subscribers = append(all.Subscribers,
			subscriberUser{s, subscriber(s), messages.DurableName(s.Account, s.Name)})
	}
	return all
}

func (u users) text() (string, error) {
	var text strings.Builder
	err := usersTemplate.Execute(&text, u)
	return text.String(), err
}

// addUsers adds the users of the embedded broker to the server's options. parts are the
// passwords of the parts. addUsers writes a password file for the operator, and for each
// subscriber without a password, if there is none.
func addUsers(options *server.Options, dir string, parts *partPasswords, subscribers []Subscriber) error {
	var fault error
	hash := func(user string, password secret.String, err error) string {
		text := ""
		if err == nil {
			text, err = parts.hash(password)
		}
		if err != nil && fault == nil {
			fault = fmt.Errorf("the password of the broker user %q: %w", user, err)
		}
		return `"` + text + `"`
	}
	all := newUsers(embeddedRoles, subscribers, true, func(r Role) string {
		password, err := parts.of[r], error(nil)
		if r == RoleOperator {
			password, err = secret.EnsureFile(OperatorPassword(dir), newPassword())
		}
		return hash(string(r), password, err)
	}, func(s Subscriber) string {
		password, err := subscriberPassword(dir, s)
		return hash(s.User(), password, err)
	})
	if fault != nil {
		return fault
	}
	text, err := all.text()
	if err != nil {
		return err
	}
	if err := options.ProcessConfigString(text); err != nil {
		return fmt.Errorf("preparing the users of the embedded broker: %w", err)
	}
	return nil
}

// partPasswords are the passwords of the parts in this process. They are new at each start and
// never leave the process. It also knows the hash of each password, because hashing takes time.
type partPasswords struct {
	of     map[Role]secret.String
	hashes map[secret.String]string
}

func newPartPasswords() *partPasswords {
	p := &partPasswords{of: map[Role]secret.String{}, hashes: map[secret.String]string{}}
	for _, role := range embeddedRoles {
		p.of[role] = newPassword()
	}
	return p
}

// hash returns the hash of a password. Its errors are those of hashPassword.
func (p *partPasswords) hash(password secret.String) (string, error) {
	known, ok := p.hashes[password]
	if ok {
		return known, nil
	}
	made, err := hashPassword(password)
	if err == nil {
		p.hashes[password] = made
	}
	return made, err
}

func newPassword() secret.String { return secret.String(rand.Text()) }

func subscriberPassword(dir string, s Subscriber) (secret.String, error) {
	if s.Password != "" {
		return s.Password, nil
	}
	file := SubscriberPassword(dir, s.User())
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	return secret.EnsureFile(file, newPassword())
}

// hashPassword uses the lowest cost, which is safe for long random passwords. It returns an
// error for a password with more than 72 bytes.
func hashPassword(password secret.String) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password.Reveal()), bcrypt.MinCost)
	return string(hash), err
}

// oldSubscribers returns the password files of the former users "subscriber" and
// "subscriber-<account>".
func oldSubscribers(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "subscriber*.password")) // the pattern is valid
	return files
}
