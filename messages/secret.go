package messages

import "fmt"

// Secret is a string that must not be seen: every verb of fmt, and so every
// error and log line built with it, prints "[redacted]". It marshals to JSON as
// it is, since the messages carry it. Read it with [Secret.Reveal].
type Secret string

// redacted stands where a secret would.
const redacted = "[redacted]"

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Format implements [fmt.Formatter] for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) {
	if s != "" {
		_, _ = f.Write([]byte(redacted))
	}
}

// String implements [fmt.Stringer] for whoever asks without fmt.
func (s Secret) String() string { return fmt.Sprint(s) }
