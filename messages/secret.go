package messages

import "fmt"

// Secret is a string that must stay out of logs and errors: every verb of fmt prints
// "[redacted]". Its JSON is the secret itself, because the messages carry it. Read it
// with [Secret.Reveal].
type Secret string

const redacted = "[redacted]"

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Format implements [fmt.Formatter] for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) {
	if s != "" {
		_, _ = f.Write([]byte(redacted))
	}
}

// String implements [fmt.Stringer].
func (s Secret) String() string { return fmt.Sprint(s) }
