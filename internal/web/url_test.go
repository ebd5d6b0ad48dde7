package web_test

import (
	"strings"
	"testing"

	"roomlink/internal/web"
)

func TestParseHTTPURL(t *testing.T) {
	for text, good := range map[string]bool{
		"https://rooms.example":              true,
		"http://rooms.example:8080/x?y=z#a":  true,
		"HTTPS://rooms.example":              true,
		"https://[::1]:8080":                 true,
		"":                                   false,
		"rooms.example":                      false,
		"//rooms.example":                    false,
		"/path":                              false,
		"https://":                           false,
		"https://:443":                       false,
		"https:rooms.example":                false,
		"ftp://rooms.example":                false,
		"javascript:alert(1)":                false,
		"JavaScript:alert(1)//https://x":     false,
		"https://user:secret@rooms.example":  false,
		"https://rooms.example/\r\nX: y":     false,
		"https://rooms.example/secret\x00":   false,
		"https://rooms.example:secret/":      false,
		"https://rooms.example/%zz-secret":   false,
		"https://secret rooms.example/":      false,
		"https://secret@rooms.example/%zz":   false,
		"data:text/html,<script>1</script>":  false,
		"https://rooms.example/caf%C3%A9/é":  true,
		"https://xn--rmlink-vxa.example:443": true,
	} {
		parsed, err := web.ParseHTTPURL(text)
		if (err == nil) != good || (parsed != nil) != good {
			t.Errorf("%q: got %v and error %v, want a URL: %v", text, parsed, err, good)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got error %v, want no quote of the URL", text, err)
		}
	}
}
