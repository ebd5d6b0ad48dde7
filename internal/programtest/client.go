package programtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
)

// Reply is an answer of our endpoints: a status and a flat object.
type Reply struct {
	Status int
	Fields map[string]string
}

// transport keeps a connection for each concurrent caller of a test.
var transport = &http.Transport{MaxIdleConnsPerHost: 256}

// Ask calls an endpoint with the API key. It returns status 0 for a transport error, because
// tests kill the program meanwhile. It may be called from any goroutine.
func Ask(tb testing.TB, method, url, body string) Reply {
	tb.Helper()
	var r Reply
	var text string
	r.Status, text = send(tb, method, url, body, http.Header{
		"Content-Type": {"application/json"}, "X-Api-Key": {APIKey},
	})
	if text != "" && json.Unmarshal([]byte(text), &r.Fields) != nil {
		return Reply{}
	}
	return r
}

// Visit gets a page without credentials and does not follow redirects. It returns status 0 for
// a transport error.
func Visit(tb testing.TB, url string) (status int, body string) {
	tb.Helper()
	return send(tb, http.MethodGet, url, "", http.Header{})
}

// send sends a request and returns the answer; status 0 for a transport error.
func send(tb testing.TB, method, url, body string, header http.Header) (status int, text string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), roomlinktest.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		tb.Errorf("making a request: %v", err)
		return 0, ""
	}
	request.Header = header
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(read)
}

// StartEvent returns the body of the event of a started call.
func StartEvent(id string) string {
	return fmt.Sprintf(`{"event":"inbound_call_starts","interaction_id":%q,"contact_id":"contact-%s"}`, id, id)
}

// Post sends the event of a started call to a webhook.
func Post(tb testing.TB, base, id string) Reply {
	tb.Helper()
	return Ask(tb, http.MethodPost, base+"/talkdesk/events", StartEvent(id))
}

// Ready waits for the links of a conversation and returns them.
func Ready(tb testing.TB, base, id string) map[string]string {
	tb.Helper()
	deadline := time.Now().Add(roomlinktest.Timeout)
	var last Reply
	for time.Now().Before(deadline) {
		last = Ask(tb, http.MethodGet, base+"/links/"+id+"?wait=5s", "")
		if last.Status == http.StatusOK && last.Fields["status"] == "ready" {
			return last.Fields
		}
		if last.Status != http.StatusOK {
			break
		}
	}
	tb.Fatalf("links of %q: got status %d, %q; want ready", id, last.Status, last.Fields["status"])
	return nil
}
