package auvious_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"roomlink/worker/auvious"
)

func TestMask(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"plain", "the application is not this client's", "the application is not this client's"},
		{"status", "HTTP status 422", "HTTP status 422"},
		{"type of a message", "want roomlink.conversation.started.v1", "want roomlink.conversation.started.v1"},
		{"URL", "see https://auvious.video/t/abcdef for it", "see [masked] for it"},
		{"URL of any scheme", "svc+X.1://auvious.video/t/abcdef", "[masked]"},
		{"URL in capitals", "HTTPS://AUVIOUS.VIDEO/T/ABCDEF", "[masked]"},
		{"URL in quotes", `url="https://auvious.video/t/abcdef"`, "[masked]"},
		{"URL after digits", "room12345url=https://auvious.video/t/abcdef", "[masked]"},
		{"URL with a control character", "https://auvious.video/\x01t/abcdef", "[masked]"},
		{"bearer", "Authorization: Bearer abcdef", "Authorization: [masked]"},
		{"bearer in capitals", "BEARER\t abcdef.ghi", "[masked]"},
		{"bearer twice", "bearer Bearer abcdef", "[masked]"},
		{"bearer over a line", "bearer\nabcdef", "[masked]"},
		{"ticket of six", "ticket abc1de is used", "ticket [masked] is used"},
		{"ticket with the digit last", "ticket abcde1 is used", "ticket [masked] is used"},
		{"ticket with the digit first", "ticket 1abcde is used", "ticket [masked] is used"},
		{"ticket of nine", "abcdefgh9", "[masked]"},
		{"ticket in quotes", `"abcde1"`, `"[masked]"`},
		{"ticket in a path", "/t/abcde1", "/t/[masked]"},
		{"token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJyb29tIn0.c2lnbmF0dXJl", "[masked]"},
		{"UUID", "id 5f3e9a1c-0000-4000-8000-000000000000", "id [masked]"},
		{"short words with a digit", "http2 and v1 or 10 ms", "http2 and v1 or 10 ms"},
		{"lines", "one\r\ntwo\tthree", "one  two three"},
		{"escape", "\x1b[mred", " [mred"},
		{"NEL", "one\u0085two", "one two"},
		{"invalid UTF-8", "a\xffb", "a\uFFFDb"},
		{"long", strings.Repeat("a ", 200), strings.Repeat("a ", 150) + "…"},
		{"cut in a rune", strings.Repeat("é ", 120), strings.Repeat("é ", 100) + "…"},
	} {
		if got := auvious.Mask(test.text); got != test.want {
			t.Errorf("%s: Mask(%q): got %q, want %q", test.name, test.text, got, test.want)
		}
	}
}

// FuzzMask: Mask removes a secret from any text around it.
func FuzzMask(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""},
		{" ", " "},
		{"code12345", "x"},
		{`{"url":"`, `"}`},
		{"bearer ", " bearer"},
		{"12345", "12345"},
		{"bearer x", "\x00"},
		{"\xff", "\xff"},
		{"http:", "//"},
		{strings.Repeat("é", 149), "\n"},
	} {
		f.Add(seed[0], seed[1])
	}
	const (
		host   = "auvious.example"
		ticket = "kq7x2m"
		token  = "letters-only.token"
	)
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, secret := range []struct{ text, hush string }{
			{"https://" + host + "/t/letters", host},
			{"Bearer " + token, token},
			{ticket, ticket},
		} {
			got := auvious.Mask(before + secret.text + after)
			switch {
			case strings.Contains(before+after, secret.hush):
				// The text around contains the word too, where it is no secret.
			case strings.Contains(got, secret.hush):
				t.Errorf("Mask(%q): got %q, want no %q in it", before+secret.text+after, got, secret.hush)
			case strings.Contains(got, "://"):
				t.Errorf("Mask(%q): got %q, want no URL in it", before+secret.text+after, got)
			}
			if !utf8.ValidString(got) || len(got) > 310 || strings.ContainsAny(got, "\r\n\x00") {
				t.Errorf("Mask(%q): got %q, want one short line of UTF-8", before+secret.text+after, got)
			}
		}
	})
}
