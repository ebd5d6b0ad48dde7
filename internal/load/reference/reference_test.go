package reference_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/load/reference"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
)

// start starts a bare path in front of a simulated auvious.
func start(tb testing.TB) *reference.Path {
	tb.Helper()
	auvious, err := simulator.New(simulator.Config{})
	if err != nil {
		tb.Fatalf("making a simulator: %v", err)
	}
	front := httptest.NewServer(auvious)
	tb.Cleanup(front.Close)
	path, err := reference.Start(tb.Context(), reference.Config{
		Dir: tb.TempDir(), Sync: time.Minute, AuviousURL: front.URL, Concurrency: 8,
		ClientID: simulator.DefaultClientID, ClientSecret: simulator.DefaultClientSecret,
	})
	if err != nil {
		tb.Fatalf("starting the bare path: %v", err)
	}
	tb.Cleanup(path.Close)
	return path
}

// post posts an event and wants it accepted.
func post(tb testing.TB, path *reference.Path, id string) {
	tb.Helper()
	body := fmt.Sprintf(`{"event":"inbound_call_starts","interaction_id":%q,"contact_id":"contact-1"}`, id)
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, path.URL()+"/talkdesk/events", strings.NewReader(body))
	if err != nil {
		tb.Fatalf("making a request: %v", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		tb.Fatalf("posting: %v", err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		tb.Errorf("posting %q: got %d, want %d", id, response.StatusCode, http.StatusAccepted)
	}
}

func TestEveryEventHasItsAnswer(t *testing.T) {
	const events = 20
	path := start(t)
	js, err := path.Connect()
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	ctx := roomlinktest.Context(t)
	answers, err := js.OrderedConsumer(ctx, reference.LinksStream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatalf("watching: %v", err)
	}
	for i := range events {
		post(t, path, fmt.Sprintf("call-%d", i))
	}
	seen := map[string]bool{}
	for len(seen) < events {
		msg, err := answers.Next(jetstream.FetchContext(ctx))
		if err != nil {
			t.Fatalf("waiting for answers: got %d and error %v, want %d", len(seen), err, events)
		}
		seen[msg.Subject()] = true
	}
	if !seen[reference.LinksSubjects+"call-7"] {
		t.Errorf("answers: got none for %q, want one", "call-7")
	}
	path.Close() // and once more at the end
}
