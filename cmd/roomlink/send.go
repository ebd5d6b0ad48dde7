package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"roomlink/internal/secret"
)

// samples are bodies with Talkdesk's documented keys and invented values.
//
//go:embed samples/*.json
var samples embed.FS

// sampleID is the key of the interaction id in each shape.
var sampleID = map[string]string{
	"automation": "interaction_id",
	"digital":    "conversation_id",
	"action":     "interactionId",
}

// sendWithin bounds a call of a webhook; maxReply what it may answer, in bytes.
const (
	sendWithin = 10 * time.Second
	maxReply   = 1 << 20
)

// sendCommand posts a sample or a file to a webhook.
type sendCommand struct {
	URL   string `name:"url" default:"http://127.0.0.1:8080" help:"The base of the webhook's address."`
	Shape string `default:"automation" enum:"automation,digital,action" help:"Which sample: ${enum}."`
	ID    string `name:"id" help:"The sample's interaction id; by default a fresh one."`
	File  string `arg:"" optional:"" help:"A file to post as it is, in place of a sample; \"-\" for standard input."`
}

// Run carries out the command.
func (c *sendCommand) Run(ctx context.Context, w world) error {
	body, err := c.body(w)
	if err != nil {
		return err
	}
	key, err := w.secretOf(talkdeskKey)
	if err != nil {
		return err
	}
	status, reply, err := postEvent(ctx, c.URL, key, body)
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "%d %s\n%s\n", status, http.StatusText(status), bytes.TrimSpace(reply))
	if status/100 != 2 {
		return fmt.Errorf("the webhook answered %d", status)
	}
	return nil
}

func (c *sendCommand) body(w world) ([]byte, error) {
	switch c.File {
	case "":
		id := c.ID
		if id == "" {
			id = strings.ToLower(rand.Text())
		}
		return sample(c.Shape, id)
	case "-":
		return io.ReadAll(io.LimitReader(w.stdin, maxReply))
	}
	return os.ReadFile(c.File)
}

// sample returns a sample of a shape for an interaction id.
func sample(shape, id string) ([]byte, error) {
	data, err := samples.ReadFile("samples/" + shape + ".json")
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("reading the sample: %w", err)
	}
	fields[sampleID[shape]] = id
	return json.Marshal(fields)
}

// postEvent posts an event as Talkdesk would, and returns what is answered.
func postEvent(ctx context.Context, base string, key secret.String, body []byte) (int, []byte, error) {
	return call(ctx, http.MethodPost, strings.TrimRight(base, "/")+"/talkdesk/events", key, body)
}

// call calls a webhook or viewer with an API key; "" for none.
func call(ctx context.Context, method, address string, key secret.String, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, usageError{err}
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		request.Header.Set("X-API-Key", key.Reveal())
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(response.Body, maxReply))
	return response.StatusCode, reply, err
}
