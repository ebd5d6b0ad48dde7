package main

import (
	"fmt"
	"os"

	"roomlink/internal/app"
)

// natsCommand is about an external NATS server.
type natsCommand struct {
	Config natsConfigCommand `cmd:"" help:"Print the configuration of an external NATS server, with its users and permissions."`
}

// natsConfigCommand prints the configuration of an external NATS server.
type natsConfigCommand struct {
	app.NATSConfigSettings

	Output string `type:"path" placeholder:"FILE" help:"Write to this file instead."`
}

// Help implements kong's interface.
func (c *natsConfigCommand) Help() string {
	return "Subscribers come from ROOMLINK_ACCOUNTS, or from ROOMLINK_ACCOUNT and ROOMLINK_SUBSCRIBERS. " +
		"The password of each user comes from ROOMLINK_NATS_<USER>_PASSWORD, where USER is WEBHOOK, WORKER, VIEWER, SERVE, " +
		"PROVISION or OPERATOR, or from ROOMLINK_SUBSCRIBER_<ACCOUNT>__<NAME>_PASSWORD, or from the file in that variable " +
		"with _FILE appended. It is printed as a hash. Without a password, the configuration refers to the variable."
}

// Run implements the command.
func (c *natsConfigCommand) Run(env app.Environment) error {
	text, err := c.Text(env)
	if err != nil {
		return err
	}
	if c.Output != "" {
		// The server may run as another user, and the file has no plain password.
		return os.WriteFile(c.Output, []byte(text), 0o644) //nolint:gosec // see above
	}
	_, err = fmt.Fprint(env.Stdout, text)
	return err
}
