package webhook

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"roomlink/internal/accounts"
	"roomlink/internal/web"
	"roomlink/messages"
)

// maxEvent is the size of the largest event that fits into a dead letter: the embedded
// broker bounds a message at 256 KiB.
const maxEvent = 128 << 10

func samples(tb testing.TB) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("finding samples: got %v and error %v, want some", paths, err)
	}
	found := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatalf("reading a sample: %v", err)
		}
		found[strings.TrimSuffix(filepath.Base(path), ".json")] = data
	}
	return found
}

// FuzzDecode checks that every body gives a [*web.Error], or an event that fits the
// contract and the broker.
func FuzzDecode(f *testing.F) {
	for _, data := range samples(f) {
		f.Add(data)
	}
	for _, seed := range []string{
		``, `{`, `{}`, `[]`, `null`, `"event"`, "\uFEFF{}", "{\"event\":\"\xff\"}", `{"event":"start","event":"start"}`,
		`{"event":"start","interaction_id":"\ud800"}`, `{"event":"start","interaction_id":"{{x}}"}`,
		`{"event":"start","interaction_id":"a","contact_id":null}{}`, `{"event":7}`, `{"event_type":null}`,
		`{"event_type":"start","conversation_id":"a","timestamp":"9999-12-31T23:59:59-23:59"}`,
		`{"event_type":"start","conversation_id":"a","timestamp":"0000-01-01T00:00:00+23:59"}`,
		`{"applicationId":"a","cdestination":"s","customerId":"c","interactionId":"i","ticketExpirationSeconds":1e3}`,
		`{"applicationId":"a","cdestination":"s","customerId":"c","interactionId":"i","ticketExpirationSeconds":1e999999}`,
		`{"applicationId":"a","cdestination":"s","customerId":"c","interactionId":"i","urlBase":"[::1]:8080"}`,
		`{"applicationId":"a","cdestination":"s","customerId":"c","interactionId":"i","more":"` + strings.Repeat("<", 999) + `"}`,
	} {
		f.Add([]byte(seed))
	}
	account := accounts.Account{Name: "acme"}
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := decodeEvent(body, account)
		if err != nil {
			var refusal *web.Error
			if !errors.As(err, &refusal) || refusal.Status != http.StatusBadRequest || refusal.Code == "" ||
				!utf8.ValidString(refusal.Description) || len(refusal.Description) > 1500 {
				t.Errorf("got error %#v, want a short one with 400", err)
			}
			return
		}
		if !n.start {
			return
		}
		event := n.started(account.Name, now)
		data, err := event.Encode()
		if err != nil {
			t.Fatalf("encoding %+v: got error %v, want none", event.Data, err)
		}
		if len(data) > maxEvent {
			t.Errorf("event: got %d bytes, want at most %d", len(data), maxEvent)
		}
		again, err := messages.Decode[messages.Started](data)
		if err != nil || again.Data.InteractionID != n.interactionID || again.Data.Account != "acme" {
			t.Errorf("decoding %s: got %+v and error %v, want it back", data, again.Data, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, data := range samples(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodeEvent(data, accounts.Account{Name: "acme"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
