// Package secret keeps configured secrets out of sight. A [String] goes from the
// environment or a file to the header or form field that needs it, and prints as
// "[redacted]" on every way between.
package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// redacted stands where a secret would.
const redacted = "[redacted]"

// maxFile bounds a file that holds a secret, in bytes.
const maxFile = 16 << 10

// ErrEmpty says that a secret's file holds nothing.
var ErrEmpty = errors.New("the file is empty")

// String is a secret. The zero value is no secret at all, and prints as "".
type String string

// Reveal returns the secret itself.
func (s String) Reveal() string { return string(s) }

// Format implements [fmt.Formatter] for every verb and flag.
func (s String) Format(f fmt.State, _ rune) {
	if s != "" {
		_, _ = io.WriteString(f, redacted)
	}
}

// String implements [fmt.Stringer] for whoever asks without fmt.
func (s String) String() string { return fmt.Sprint(s) }

// MarshalText implements [encoding.TextMarshaler], and so keeps it out of JSON.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ReadFile reads a secret from a file, without the line end behind it. It
// returns [ErrEmpty] for a file that holds nothing, and an error for one of more
// than 16 KiB; any other error is the file system's.
func ReadFile(path string) (String, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("reading %q: %w", path, err)
	}
	if len(data) > maxFile {
		return "", fmt.Errorf("reading %q: more than %d bytes are no secret", path, maxFile)
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return "", fmt.Errorf("reading %q: %w", path, ErrEmpty)
	}
	return String(text), nil
}

// WriteFile writes a secret to a file that only its owner reads. Once it returns
// nil the file is on the disk, whole, whatever happens to the machine; else it is
// as it was. Its errors are the file system's.
func WriteFile(path string, s String) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, filepath.Base(path)+"-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // gone if it was renamed
	_, err = file.WriteString(s.Reveal() + "\n")
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDirectory(dir)
}

// syncDirectory has the name of a new file survive too.
func syncDirectory(dir string) error {
	handle, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(handle.Sync(), handle.Close())
}
