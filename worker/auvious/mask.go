package auvious

import (
	"regexp"
	"strings"
	"unicode"
)

// maxDetail bounds what is quoted of an answer, in bytes.
const maxDetail = 300

const masked = "[masked]"

// What may be a secret in foreign text.
var (
	// address is all of a word with a URL in it: what stands around it may belong
	// to it.
	address = regexp.MustCompile(`\S*://\S*`)
	// bearer is a token by the name that it goes by.
	bearer = regexp.MustCompile(`(?i)(?:\S*bearer\s+)+\S+`)
	// random is a token, or a ticket: six letters and digits or more, with a digit
	// anywhere among them.
	random = regexp.MustCompile(`[\w=.-]*(?:\d[\w=.-]{4}|\w{5}\d|\w{4}\d\w|\w{3}\d\w\w|\w\w\d\w{3})[\w=.-]*`)
)

// Mask makes foreign text fit for a log: one line, bounded, and "[masked]" in
// place of all that may be a secret.
func Mask(text string) string {
	text = address.ReplaceAllString(text, masked)
	// A control character may be part of an address, and ends a token.
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
