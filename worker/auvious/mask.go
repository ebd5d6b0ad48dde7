package auvious

import (
	"regexp"
	"strings"
	"unicode"
)

// maxDetail bounds a masked text, in bytes.
const maxDetail = 300

const masked = "[masked]"

// These match what may be a secret in foreign text.
var (
	// address matches the whole word around a URL, because any part of the word may belong to the URL.
	address = regexp.MustCompile(`\S*://\S*`)
	// bearer matches a token after the word "bearer".
	bearer = regexp.MustCompile(`(?i)(?:\S*bearer\s+)+\S+`)
	// random matches a token or a ticket: at least six letters and digits, at least one of them a digit.
	random = regexp.MustCompile(`[\w=.-]*(?:\d[\w=.-]{4}|\w{5}\d|\w{4}\d\w|\w{3}\d\w\w|\w\w\d\w{3})[\w=.-]*`)
)

// Mask prepares foreign text for a log. It returns one line of at most 300 bytes and an ellipsis, with "[masked]" in
// place of everything that may be a secret.
func Mask(text string) string {
	text = address.ReplaceAllString(text, masked)
	// After the addresses, because a control character may be part of one. Before the tokens, because it ends one.
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	text = bearer.ReplaceAllString(text, masked)
	text = random.ReplaceAllString(text, masked)
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
	}
	return text
}
