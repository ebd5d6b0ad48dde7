package app

import (
	"context"
	"fmt"
	"strings"

	"roomlink/internal/broker"
	"roomlink/internal/secret"
	"roomlink/messages"
)

// defaultAccount is the account of settings that name none.
const defaultAccount = "default"

// Subscriber returns the account and the name of the subscriber whose user the settings
// name. It returns false for another user.
func (s NATSSettings) Subscriber() (account, name string, ok bool) {
	name, account, ok = strings.Cut(s.NATSUser, "@")
	return account, name, ok && messages.ValidateAccount(account) == nil && messages.ValidateAccount(name) == nil
}

// Subscribe connects as the subscriber of [NATSSettings.Subscriber]: to the external
// broker, or to the embedded one of a running "roomlink serve" on this machine. Call
// disconnect at the end. It returns a [UsageError] if the settings name another account.
func (s OperatorSettings) Subscribe(
	ctx context.Context, env Environment,
) (subscriber *messages.Subscriber, disconnect func(), err error) {
	if account, _, _ := s.Subscriber(); s.Account != account && s.Account != defaultAccount {
		return nil, nil, Usagef("the subscriber %s reads account %q alone, not %q", s.NATSUser, account, s.Account)
	}
	remote, err := s.Remote(env, broker.RoleOperator)
	if err != nil {
		return nil, nil, err
	}
	if remote.URL == "" {
		remote.URL = "nats://" + s.BrokerListen
	}
	if remote.Password == "" && s.NATSURL == "" {
		remote.Password, err = secret.ReadFile(broker.SubscriberPassword(s.DataDir, s.NATSUser))
		if err != nil {
			return nil, nil, fmt.Errorf("reading the subscriber's password: %w: set %s", err, NATSPassword)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, DialTimeout)
	defer cancel()
	js, err := broker.Subscribe(ctx, remote)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to the broker at %s as %s: %w",
			broker.WithoutCredentials(remote.URL), s.NATSUser, err)
	}
	return messages.NewSubscriber(js), js.Conn().Close, nil
}
