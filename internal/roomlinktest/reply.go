package roomlinktest

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// Reply is an answer, read whole.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// ReadReply reads an answer whole, and closes it.
func ReadReply(tb testing.TB, answer *http.Response) Reply {
	tb.Helper()
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		tb.Fatalf("reading an answer: %v", err)
	}
	return Reply{answer.StatusCode, answer.Header, string(body)}
}

// Flat reads an answer that is a flat JSON object of strings.
func (r Reply) Flat(tb testing.TB) map[string]string {
	tb.Helper()
	var got map[string]any
	if err := json.Unmarshal([]byte(r.Body), &got); err != nil {
		tb.Fatalf("answer %d %q: got error %v, want JSON", r.Status, r.Body, err)
	}
	flat := map[string]string{}
	for name, value := range got {
		text, ok := value.(string)
		if !ok {
			tb.Errorf("answer's %q: got %v, want a string", name, value)
		}
		flat[name] = text
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := r.Header.Get(name); got != want {
			tb.Errorf("answer's %s: got %q, want %q", name, got, want)
		}
	}
	return flat
}

// WantError compares an answer with an error of our form, and returns its fields.
func (r Reply) WantError(tb testing.TB, status int, code string) map[string]string {
	tb.Helper()
	got := r.Flat(tb)
	if r.Status != status || len(got) != 2 || got["error"] != code || got["error_description"] == "" {
		tb.Errorf("got %d %s, want %d with exactly error %q and error_description", r.Status, r.Body, status, code)
	}
	return got
}
