package app

import (
	"net"
	"strconv"
	"strings"

	"roomlink/internal/broker"
	"roomlink/internal/secret"
	"roomlink/internal/web"
)

// NATSConfigSettings describe the configuration of an external NATS server.
type NATSConfigSettings struct {
	AccountSettings

	Listen              string `default:"127.0.0.1:4222" help:"The address of the clients. Off loopback it needs TLS, or --insecure-plain-broker."`
	HTTP                string `name:"http" default:"127.0.0.1:8222" help:"The address of health and statistics."`
	StoreDir            string `default:"/data" help:"The directory of the store."`
	TLSCert             string `name:"tls-cert" help:"The server's certificate (PEM), where the server finds it."`
	TLSKey              string `name:"tls-key" help:"The key of the certificate (PEM), where the server finds it."`
	InsecurePlainBroker bool   `help:"Let clients off loopback connect without TLS."`
}

// check returns a [UsageError] for settings that do not fit together.
func (s NATSConfigSettings) check() error {
	for flag, address := range map[string]string{"--listen": s.Listen, "--http": s.HTTP} {
		_, port, err := net.SplitHostPort(address)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil {
			return Usagef("%s %q is not an address such as 127.0.0.1:4222", flag, address)
		}
	}
	if strings.ContainsAny(s.Listen+s.HTTP+s.StoreDir+s.TLSCert+s.TLSKey, "\"\\\n") {
		return Usagef("addresses and paths must not contain quotes, backslashes or line breaks")
	}
	switch {
	case (s.TLSCert == "") != (s.TLSKey == ""):
		return Usagef("--tls-cert and --tls-key belong together: set both")
	case s.TLSCert == "" && !web.IsLoopback(s.Listen) && !s.InsecurePlainBroker:
		return Usagef("--listen %s is off loopback: set --tls-cert and --tls-key, or --insecure-plain-broker", s.Listen)
	}
	return nil
}

// Text returns the configuration. It returns a [UsageError] for settings that do not fit
// together.
func (s NATSConfigSettings) Text(env Environment) (string, error) {
	if err := s.check(); err != nil {
		return "", err
	}
	reader := &accountReader{env: env, settings: s.AccountSettings, passwords: true}
	all, err := reader.read()
	if err != nil {
		return "", UsageError{err}
	}
	passwords := map[broker.Role]secret.String{}
	for _, role := range broker.ExternalRoles() {
		if passwords[role], err = env.Secret(role.PasswordVariable()); err != nil {
			return "", err
		}
	}
	known := subscribers(all)
	for i, one := range known {
		if one.Password == "" {
			if known[i].Password, err = env.Secret(one.PasswordVariable()); err != nil {
				return "", err
			}
		}
	}
	text, err := broker.ServerConfig{
		Listen: s.Listen, HTTP: s.HTTP, TLSCert: s.TLSCert, TLSKey: s.TLSKey, StoreDir: s.StoreDir,
		Passwords: passwords, Subscribers: known,
	}.Text()
	if err != nil {
		return "", UsageError{err}
	}
	return text, nil
}
