package roomlinktest

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// Reply is an HTTP response with its whole body.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// ReadReply reads the body of a response and closes it.
func ReadReply(tb testing.TB, response *http.Response) Reply {
	tb.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatalf("reading a response: %v", err)
	}
	return Reply{response.StatusCode, response.Header, string(body)}
}

// Flat decodes a body that is a flat JSON object of strings. It also checks the headers
// that every JSON response has.
func (r Reply) Flat(tb testing.TB) map[string]string {
	tb.Helper()
	var got map[string]any
	if err := json.Unmarshal([]byte(r.Body), &got); err != nil {
		tb.Fatalf("decoding response %d %q: got error %v, want JSON", r.Status, r.Body, err)
	}
	flat := map[string]string{}
	for name, value := range got {
		text, ok := value.(string)
		if !ok {
			tb.Errorf("field %q of the response: got %v, want a string", name, value)
		}
		flat[name] = text
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := r.Header.Get(name); got != want {
			tb.Errorf("header %s of the response: got %q, want %q", name, got, want)
		}
	}
	return flat
}

// WantError checks for an error response with a status and a code, and returns its fields.
func (r Reply) WantError(tb testing.TB, status int, code string) map[string]string {
	tb.Helper()
	got := r.Flat(tb)
	if r.Status != status || len(got) != 2 || got["error"] != code || got["error_description"] == "" {
		tb.Errorf("response: got %d %s, want %d with only error %q and error_description", r.Status, r.Body, status, code)
	}
	return got
}
