package app

import (
	"fmt"
	"io"

	"roomlink/internal/secret"
)

// Environment is the outside of the program, as main hands it in.
type Environment struct {
	// Lookup returns the value of an environment variable, and whether it is set.
	Lookup func(name string) (string, bool)
	// Environ returns all environment variables as NAME=value.
	Environ        func() []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Secret reads a secret from the variable of that name, or from the file that the
// variable with _FILE appended names. It returns "" if neither is set. It returns a
// [UsageError] if both are set or the file is unreadable.
func (e Environment) Secret(name string) (secret.String, error) {
	value, _ := e.Lookup(name)
	path := e.secretFile(name)
	switch {
	case value != "" && path != "":
		return "", Usagef("%s and %s_FILE are both set: set one", name, name)
	case path == "":
		return secret.String(value), nil
	}
	read, err := secret.ReadFile(path)
	if err != nil {
		return "", Usagef("%s_FILE: %w", name, err)
	}
	return read, nil
}

// secretFile returns the path of a secret's file; "" if there is none.
func (e Environment) secretFile(name string) string {
	path, _ := e.Lookup(name + "_FILE")
	return path
}

// UsageError is a mistake in the command line or in the configuration.
type UsageError struct{ Err error }

// Usagef returns a [UsageError]. It formats as [fmt.Errorf] does.
func Usagef(format string, v ...any) error { return UsageError{fmt.Errorf(format, v...)} }

// Error implements error.
func (e UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e UsageError) Unwrap() error { return e.Err }
