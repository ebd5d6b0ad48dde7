// Package talkdesk plays Talkdesk: it has samples of the bodies that Talkdesk posts, and
// a client that posts them as Talkdesk does.
package talkdesk

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"roomlink/internal/secret"
)

// samples have Talkdesk's documented keys and invented values.
//
//go:embed samples/*.json
var samples embed.FS

// Shape is the shape of a sample: automation, digital or action.
type Shape string

// The shapes.
const (
	Automation Shape = "automation"
	Digital    Shape = "digital"
	Action     Shape = "action"
)

// idKeys are the keys of the interaction id.
var idKeys = map[Shape]string{
	Automation: "interaction_id",
	Digital:    "conversation_id",
	Action:     "interactionId",
}

// Known reports whether there is a sample of the shape.
func (s Shape) Known() bool { return idKeys[s] != "" }

// Sample returns a sample with an interaction id. Its errors say that there is no such
// sample.
func (s Shape) Sample(id string) ([]byte, error) {
	data, err := samples.ReadFile("samples/" + string(s) + ".json")
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("reading the sample: %w", err)
	}
	fields[idKeys[s]] = id
	return json.Marshal(fields)
}

// InteractionIDs returns the interaction ids in a body, whatever its shape. A body that is no
// JSON object has none.
func InteractionIDs(body []byte) (ids []string) {
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return nil
	}
	for _, key := range idKeys {
		if id, _ := fields[key].(string); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

const (
	// callTimeout bounds a call.
	callTimeout = 10 * time.Second
	// MaxBody bounds a body in bytes, in each direction.
	MaxBody = 1 << 20
)

// Client calls the public HTTP of roomlink.
type Client struct {
	// URL is the base of the addresses.
	URL string
	// Key is the API key; "" for none.
	Key secret.String
}

// PostEvent posts an event. It returns the status and the body of the answer.
func (c Client) PostEvent(ctx context.Context, body []byte) (int, []byte, error) {
	return c.call(ctx, http.MethodPost, "/talkdesk/events", body)
}

// Get gets a path. It returns the status and the body of the answer.
func (c Client) Get(ctx context.Context, path string) (int, []byte, error) {
	return c.call(ctx, http.MethodGet, path, nil)
}

func (c Client) call(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.Key != "" {
		request.Header.Set("X-API-Key", c.Key.Reveal())
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, MaxBody))
	return response.StatusCode, answer, err
}
