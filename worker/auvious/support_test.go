package auvious_test

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"roomlink/internal/accounts"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/worker/auvious"
)

// The invented credentials. Every secret in these tests contains "hush", and no error may contain it.
const (
	hush         = "hush"
	clientID     = "roomlink-test"
	clientSecret = "hush-client-secret-5f3e9a1c"
)

// goodRoom is a good answer of the facade.
const goodRoom = `{"agentUrl":"https://auvious.video/agent/1",` +
	`"recordingUrl":"https://auvious.video/recording/1",` +
	`"ticketUrl":"https://auvious.video/t/hush"}`

// facade is a simulated auvious with a server.
type facade struct {
	*simulator.Simulator
	url string
}

// serve starts a simulated auvious that accepts our credentials.
func serve(tb testing.TB, config simulator.Config) facade {
	tb.Helper()
	config.ClientID, config.ClientSecret = clientID, clientSecret
	s, err := simulator.New(config)
	if err != nil {
		tb.Fatalf("making a simulator: %v", err)
	}
	server := httptest.NewServer(s)
	tb.Cleanup(server.Close)
	return facade{s, server.URL}
}

// answer sets the answer to every room call.
func (f facade) answer(a simulator.Answer) {
	f.Script(func(simulator.Call) *simulator.Answer { return &a })
}

// client returns a client of the facade.
func (f facade) client(tb testing.TB) *auvious.Client {
	tb.Helper()
	return newClient(tb, accounts.Rooms{URL: f.url})
}

// newClient returns a client. It has our credentials unless the configuration has others.
func newClient(tb testing.TB, config accounts.Rooms) *auvious.Client {
	tb.Helper()
	if config.ClientID == "" {
		config.ClientID, config.ClientSecret = clientID, secret.String(clientSecret)
	}
	config.Timeout, config.Concurrency = cmp.Or(config.Timeout, 10*time.Second), cmp.Or(config.Concurrency, 64)
	client, err := auvious.New(config)
	if err != nil {
		tb.Fatalf("making a client: %v", err)
	}
	tb.Cleanup(client.Close)
	return client
}

// roomRequest returns a request that the simulator accepts.
func roomRequest(interactionID string) auvious.RoomRequest {
	return auvious.RoomRequest{
		ApplicationID: "app-1",
		Destination:   "standalone",
		CustomerID:    "contact-42",
		InteractionID: interactionID,
		URLBase:       "https://auvious.video",
	}
}

// mustCreate makes a room, or fails the test.
func mustCreate(tb testing.TB, client *auvious.Client, interactionID string) auvious.Room {
	tb.Helper()
	room, err := client.CreateRoom(tb.Context(), roomRequest(interactionID))
	if err != nil {
		tb.Fatalf("creating the room of %q: %v", interactionID, err)
	}
	return room
}

// mustFail makes a call that must fail, and returns its error.
func mustFail(tb testing.TB, client *auvious.Client, interactionID string) *auvious.CallError {
	tb.Helper()
	room, err := client.CreateRoom(tb.Context(), roomRequest(interactionID))
	if room != (auvious.Room{}) {
		tb.Errorf("room beside an error: got %+v, want none", room)
	}
	return callError(tb, err)
}

// callError checks that err is a [*auvious.CallError] with a kind and without a secret, and returns it.
func callError(tb testing.TB, err error) *auvious.CallError {
	tb.Helper()
	wantNoSecret(tb, err)
	failed, ok := errors.AsType[*auvious.CallError](err)
	if !ok {
		tb.Fatalf("creating a room: got error %v, want a *CallError", err)
	}
	if !slices.Contains(auvious.Kinds(), failed.Kind) {
		tb.Errorf("kind of error %v: got %d, want one of %v", err, int(failed.Kind), auvious.Kinds())
	}
	return failed
}

// wantNoSecret checks that no verb prints a secret of the error.
func wantNoSecret(tb testing.TB, err error) {
	tb.Helper()
	for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
		if text := fmt.Sprintf(verb, err); strings.Contains(text, hush) {
			tb.Errorf("error as %s: got a secret in %s, want none", verb, text)
		}
	}
}

// wantCalls compares the numbers of token calls and room calls.
func (f facade) wantCalls(tb testing.TB, tokens, rooms int) {
	tb.Helper()
	stats := f.Stats()
	if stats.TokenCalls != tokens || stats.RoomCalls != rooms {
		tb.Errorf("token and room calls: got %d and %d, want %d and %d",
			stats.TokenCalls, stats.RoomCalls, tokens, rooms)
	}
}

// header returns a header with one field.
func header(name, value string) http.Header { return http.Header{name: {value}} }
