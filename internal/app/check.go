package app

import (
	"context"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/broker"
)

// The values of [Result.State].
const (
	// CheckOK: it works.
	CheckOK = "ok"
	// CheckWarning: a start works without it.
	CheckWarning = "warning"
	// CheckFailed: a start does not work, or makes no rooms.
	CheckFailed = "failed"
)

// Result is the result of one check.
type Result struct {
	// Check names what was tried: settings, file, data, listen, broker, permissions, streams, auvious, room, clock,
	// certificate or public.
	Check string `json:"check"`
	// State is [CheckOK], [CheckWarning] or [CheckFailed].
	State string `json:"state"`
	// Detail says what was found. It has no secret.
	Detail string `json:"detail"`
	// Remedy says what to do; "" if there is nothing to do, or if Detail says it.
	Remedy string `json:"remedy,omitempty"`
}

// CheckSettings select what [Check] tries.
type CheckSettings struct {
	ServeSettings

	Part string `arg:"" optional:"" enum:"serve,webhook,worker,viewer" default:"serve" help:"The part that shall start: ${enum}."`
	Room bool   `help:"Have auvious make a real room for each account."`
}

// checker tries what a start needs.
type checker struct {
	CheckSettings

	env      Environment
	reader   *accountReader
	accounts []accounts.Account
	report   func(Result)
}

// Check tries everything that the start of a part needs, and changes nothing but the rooms that it is asked to make.
// It calls report with each result.
func Check(ctx context.Context, env Environment, s CheckSettings, report func(Result)) {
	c := &checker{CheckSettings: s, env: env, report: report}
	c.checkSettings()
	c.checkFiles()
	c.checkBroker(ctx)
	if c.makesRooms() {
		c.checkAuvious(ctx)
	}
	if c.isPublic() {
		c.checkCertificate()
		c.checkPublicURL(ctx)
	}
}

func (c *checker) makesRooms() bool { return c.Part == "serve" || c.Part == "worker" }
func (c *checker) isPublic() bool   { return c.Part != "worker" }
func (c *checker) isEmbedded() bool { return c.Part == "serve" && c.NATSURL == "" }

func (c *checker) okf(check, format string, v ...any) {
	c.report(Result{Check: check, State: CheckOK, Detail: fmt.Sprintf(format, v...)})
}

func (c *checker) warnf(check, remedy, format string, v ...any) {
	c.report(Result{Check: check, State: CheckWarning, Detail: fmt.Sprintf(format, v...), Remedy: remedy})
}

// fail reports an error. remedy may be "" if the error says what to do.
func (c *checker) fail(check, remedy string, err error) {
	detail := strings.ReplaceAll(err.Error(), "\n", ": ")
	c.report(Result{Check: check, State: CheckFailed, Detail: detail, Remedy: remedy})
}

// checkSettings reads the accounts and the settings of the public HTTP.
func (c *checker) checkSettings() {
	c.reader = &accountReader{
		env: c.env, settings: c.AccountSettings, credentials: c.isPublic(), passwords: c.isEmbedded(),
	}
	if c.makesRooms() {
		c.reader.rooms = &c.Rooms
	}
	all, err := c.reader.read()
	if err != nil {
		c.fail("settings", "", err)
		return
	}
	c.accounts = all
	if c.isEmbedded() {
		err = limitEmbedded(all)
	}
	if err == nil && c.isPublic() {
		err = c.checkPublicSettings()
	}
	if err != nil {
		c.fail("settings", "", err)
		return
	}
	c.okf("settings", "they fit together; accounts: %s", clipList(names(all)))
	for _, one := range all {
		if one.Auvious.ApplicationID == "" && c.makesRooms() {
			c.warnf("settings", "set ROOMLINK_AUVIOUS_APPLICATION_ID, or applicationId",
				"account %q has no application id: auvious accepts only events that bring their own", one.Name)
		}
	}
}

// checkPublicSettings checks what the public HTTP needs, as its start does.
func (c *checker) checkPublicSettings() error {
	open, err := openAccount(c.PublicSettings, c.accounts)
	if err != nil {
		return err
	}
	if _, err := publicURL(c.PublicSettings, "http", c.Listen); err != nil {
		return err
	}
	keys, err := c.readKeys()
	if err != nil {
		return err
	}
	_, err = access.NewAuthenticator(access.Config{
		Accounts: c.accounts, Keys: keys, TokenLifetime: c.TokenLifetime, Open: open,
		Registerer: prometheus.NewRegistry(),
	})
	return err
}

// readKeys reads the link keys. It returns a key of its own if the first start is going to make one.
func (c *checker) readKeys() (*access.Keys, error) {
	text, err := c.env.Secret(LinkKey)
	if text == "" && err == nil && c.isEmbedded() {
		if text, err = readKept(c.DataDir, keyFile); text == "" && err == nil {
			return parseKeys(newKey())
		}
	}
	switch {
	case err != nil:
		return nil, err
	case text == "":
		return nil, errLinkKey
	}
	return parseKeys(text)
}

// role returns the role of the part.
func (c *checker) role() broker.Role { return broker.Role(c.Part) }

// clipList joins the first names of a list.
func clipList(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}
