// Package interaction checks the ids that come in from outside: in a call of Talkdesk, in an
// address, or on the command line.
//
// A constant id puts strangers into one room. So the package refuses the texts that arrive in
// place of an id when nobody filled in a variable: placeholders and words for nothing. The
// rule holds only for what comes in. An id that is stored or signed already is judged by
// [messages.ValidateInteractionID] alone.
//
// # The line
//
// [Unfilled] names what is refused. Everything else is an id: "annull-12", "call-null-7",
// "a{b", "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}", "<7f3a91@mail.example.com>".
package interaction

import (
	"fmt"
	"strings"

	"roomlink/messages"
)

// ID returns the interaction id in a text, without the white space around it (Unicode,
// White_Space). Its error is a sentence that tells an administrator of Talkdesk what to do.
func ID(text string) (string, error) {
	id := strings.TrimSpace(text)
	if Unfilled(id) {
		return "", fmt.Errorf("the interaction id %q is a placeholder or a word for nothing, and every conversation would share it: "+
			"replace it by the variable that has the interaction's id", id)
	}
	if err := messages.ValidateInteractionID(id); err != nil {
		return "", fmt.Errorf("%w: use the variable that has the interaction's id", err)
	}
	return id, nil
}

// Contact returns the contact's id in a text as [ID] does; "" if it is no id. A conversation
// needs no contact.
func Contact(text string) string {
	id, err := ID(text)
	if err != nil {
		return ""
	}
	return id
}
