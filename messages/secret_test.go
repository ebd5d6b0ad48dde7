package messages_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

const ticket = "https://video.example/t/invented-ticket"

func TestSecretNeverPrints(t *testing.T) {
	secret := messages.Secret(ticket)
	links := roomlinktest.Links("a", 1).Data
	for _, value := range []any{
		secret, &secret,
		[]messages.Secret{secret},
		map[string]messages.Secret{"k": secret},
		links, &links, roomlinktest.Links("a", 1),
		struct{ Inner any }{secret},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#q", "%d", "%t", "%10.3s", "%-9v", "%c", "%U", "%e"} {
			wantNoTicket(t, fmt.Sprintf("%T with %s", value, verb), fmt.Sprintf(verb, value))
		}
		wantNoTicket(t, fmt.Sprintf("%T with Sprint", value), fmt.Sprint(value))
	}
}

// wantNoTicket looks for the ticket, also in hexadecimal.
func wantNoTicket(t *testing.T, what, text string) {
	t.Helper()
	flat := strings.ToLower(strings.ReplaceAll(text, " ", ""))
	for _, form := range []string{"invented-ticket", fmt.Sprintf("%x", "invented-ticket"), "htt"} {
		if form == "htt" && !strings.Contains(what, "Secret") {
			continue // other URLs of the links are no secrets
		}
		if strings.Contains(flat, form) {
			t.Errorf("%s: got %q, want no ticket", what, text)
		}
	}
}

func TestSecretInErrorsAndLogs(t *testing.T) {
	secret := messages.Secret(ticket)
	err := errors.Join(fmt.Errorf("opening %s", secret), fmt.Errorf("opening %q: %v", secret, secret))
	wantNoTicket(t, "error", err.Error())
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("links", "ticket", secret)
	wantNoTicket(t, "text log", log.String())
	if got, want := secret.String(), "[redacted]"; got != want {
		t.Errorf("String: got %q, want %q", got, want)
	}
}

func TestSecretRevealsItself(t *testing.T) {
	if got := messages.Secret(ticket).Reveal(); got != ticket {
		t.Errorf("Reveal: got %q, want %q", got, ticket)
	}
	data, err := json.Marshal(struct{ URL messages.Secret }{ticket})
	if want := `{"URL":"` + ticket + `"}`; err != nil || string(data) != want {
		t.Errorf("JSON: got %s and error %v, want %s", data, err, want)
	}
	var back struct{ URL messages.Secret }
	if err := json.Unmarshal(data, &back); err != nil || back.URL.Reveal() != ticket {
		t.Errorf("from JSON: got %q and error %v, want %q", back.URL.Reveal(), err, ticket)
	}
	if got := fmt.Sprintf("%v%q%s", messages.Secret(""), messages.Secret(""), messages.Secret("")); got != "" {
		t.Errorf("empty secret: got %q, want nothing", got)
	}
}

// An error about a message must not quote the message.
func TestDecodeErrorsContainNoTicket(t *testing.T) {
	whole := string(roomlinktest.Encode(t, roomlinktest.Links("a", 1)))
	for _, broken := range []string{
		whole[:len(whole)-1],
		strings.Replace(whole, `"generation":1`, `"generation":"`+ticket+`"`, 1),
		strings.Replace(whole, `"generation":1`, `"generation":0`, 1),
		strings.Replace(whole, `"createdAt":"`, `"createdAt":"`+ticket, 1),
		ticket,
	} {
		_, err := messages.Decode[messages.Links]([]byte(broken))
		if err == nil {
			t.Fatalf("decoding %q: got no error, want one", broken)
		}
		wantNoTicket(t, "error", err.Error())
	}
}
