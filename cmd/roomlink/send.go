package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"roomlink/internal/app"
	"roomlink/internal/interaction"
	"roomlink/internal/talkdesk"
)

// sendCommand posts a sample or a file to a webhook.
type sendCommand struct {
	URL   string         `name:"url" default:"http://127.0.0.1:8080" help:"The base of the webhook's address."`
	Shape talkdesk.Shape `default:"automation" enum:"automation,digital,action" help:"The shape of the sample: ${enum}."`
	ID    string         `name:"id" help:"The interaction id of the sample. The default is a new one."`
	File  string         `arg:"" optional:"" help:"A file to post unchanged; \"-\" for standard input."`
}

// Run implements the command.
func (c *sendCommand) Run(ctx context.Context, env app.Environment) error {
	if _, err := url.Parse(c.URL); err != nil {
		return app.UsageError{Err: err}
	}
	body, err := c.body(env)
	if err != nil {
		return err
	}
	key, err := env.Secret(app.TalkdeskKey)
	if err != nil {
		return err
	}
	status, answer, err := talkdesk.Client{URL: c.URL, Key: key}.PostEvent(ctx, body)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "%d %s\n%s\n", status, http.StatusText(status), bytes.TrimSpace(answer))
	if status/100 != 2 {
		return fmt.Errorf("the webhook answered %d", status)
	}
	return nil
}

func (c *sendCommand) body(env app.Environment) ([]byte, error) {
	if c.File == "" {
		id, err := interaction.ID(cmp.Or(c.ID, strings.ToLower(rand.Text())))
		if err != nil {
			return nil, app.UsageError{Err: err}
		}
		return c.Shape.Sample(id)
	}
	body, err := c.read(env)
	if err != nil {
		return nil, err
	}
	for _, id := range talkdesk.InteractionIDs(body) {
		if _, err := interaction.ID(id); err != nil {
			return nil, app.Usagef("%s: %w", c.File, err)
		}
	}
	return body, nil
}

// read reads the file.
func (c *sendCommand) read(env app.Environment) ([]byte, error) {
	if c.File == "-" {
		return io.ReadAll(io.LimitReader(env.Stdin, talkdesk.MaxBody))
	}
	return os.ReadFile(c.File)
}
