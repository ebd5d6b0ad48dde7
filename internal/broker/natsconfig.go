package broker

import (
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	"roomlink/internal/secret"
)

//go:embed server.conf.tmpl
var serverConf string

var serverTemplate = template.Must(template.New("server.conf").Parse(serverConf))

// ServerConfig describes the configuration of an external NATS server.
type ServerConfig struct {
	// Listen and HTTP are addresses: of the clients, and of health and statistics.
	Listen, HTTP string
	// TLSCert and TLSKey are files of the server (PEM); "" for plain text.
	TLSCert, TLSKey string
	// StoreDir is the directory of the server's store.
	StoreDir string
	// Passwords are the known passwords of roles. The others are variables.
	Passwords map[Role]secret.String
	// Subscribers whose passwords are empty have variables, too.
	Subscribers []Subscriber
}

// PasswordVariable returns the variable with the password of a role, for the configuration of
// an external server.
func (r Role) PasswordVariable() string {
	if r == RoleProvisioner {
		return "ROOMLINK_NATS_PROVISION_PASSWORD" // as the parts call it
	}
	return "ROOMLINK_NATS_" + strings.ToUpper(string(r)) + "_PASSWORD"
}

// PasswordVariable returns the variable with the password of the subscriber, for the
// configuration of an external server.
func (s Subscriber) PasswordVariable() string {
	names := strings.NewReplacer("-", "_").Replace(s.Account + "__" + s.Name)
	return "ROOMLINK_SUBSCRIBER_" + strings.ToUpper(names) + "_PASSWORD"
}

// ExternalRoles returns the roles that have a user on an external server.
func ExternalRoles() []Role { return externalRoles }

// Text returns the configuration. A known password is there as a bcrypt hash, so it may be any
// text of up to 72 bytes. Text returns an error for a longer one, and for two subscribers with
// the same variable.
func (c ServerConfig) Text() (string, error) {
	var fault error
	password := func(user, variable string, known secret.String) string {
		if known == "" {
			return "$" + variable
		}
		hash, err := hashPassword(known)
		if err != nil && fault == nil {
			fault = fmt.Errorf("the password of %q: %w", user, err)
		}
		return `"` + hash + `"`
	}
	variables := map[string]string{}
	all := newUsers(externalRoles, c.Subscribers, false,
		func(r Role) string { return password(string(r), r.PasswordVariable(), c.Passwords[r]) },
		func(s Subscriber) string {
			variable := s.PasswordVariable()
			if other, twice := variables[variable]; twice && s.Password == "" && fault == nil {
				fault = fmt.Errorf("the subscribers %q and %q have the same variable %s: give one a passwordFile",
					other, s.User(), variable)
			}
			if s.Password == "" {
				variables[variable] = s.User()
			}
			return password(s.User(), variable, s.Password)
		})
	if fault != nil {
		return "", fault
	}
	text, err := all.text()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = serverTemplate.Execute(&out, struct {
		ServerConfig

		MaxPayload int
		Users      string
	}{c, maxPayload, text})
	return out.String(), err
}
