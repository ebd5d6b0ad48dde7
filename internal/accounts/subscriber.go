package accounts

import (
	"fmt"

	"roomlink/internal/secret"
	"roomlink/messages"
)

// Where a new subscriber begins to read.
const (
	// FromNew leaves out the messages that were stored before the subscriber was configured.
	FromNew = "new"
	// FromAll begins with the oldest message.
	FromAll = "all"
)

// Subscriber is a program that reads the links of an account from the broker.
type Subscriber struct {
	Name string `yaml:"name"`
	// Password is empty if the data directory has it.
	Password     secret.String `yaml:"-"`
	PasswordFile string        `yaml:"passwordFile"`
	// DeadLetters lets the subscriber also read the events that got no links.
	DeadLetters bool `yaml:"deadLetters"`
	// From is [FromNew], [FromAll], or "" for FromNew.
	From string `yaml:"from"`
}

// checkSubscribers returns an error for an impossible subscriber, and for two of one name.
func checkSubscribers(all []Subscriber) error {
	known := map[string]bool{}
	for _, s := range all {
		// The name follows the rule of an account's name.
		if err := messages.ValidateAccount(s.Name); err != nil {
			return fmt.Errorf("subscriber %q: want a name of 1 to 32 of a-z, 0-9 and -", s.Name)
		}
		switch {
		case known[s.Name]:
			return fmt.Errorf("subscriber %q is there twice", s.Name)
		case s.From != "" && s.From != FromNew && s.From != FromAll:
			return fmt.Errorf("subscriber %q: from is %q: want %q or %q", s.Name, s.From, FromNew, FromAll)
		}
		known[s.Name] = true
	}
	return nil
}
