// Package secret keeps secrets out of logs and errors. A [String] contains a secret and
// prints as "[redacted]". Only [String.Reveal] returns the secret itself.
package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// redacted is the text of every secret.
const redacted = "[redacted]"

// maxFile bounds the file of a secret, in bytes.
const maxFile = 16 << 10

// ErrEmpty means that the file of a secret is empty.
var ErrEmpty = errors.New("the file is empty")

// String is a secret. The zero value is no secret and prints as "".
type String string

// Reveal returns the secret itself.
func (s String) Reveal() string { return string(s) }

// Format implements [fmt.Formatter] for every verb and flag.
func (s String) Format(f fmt.State, _ rune) {
	if s != "" {
		_, _ = io.WriteString(f, redacted)
	}
}

// String implements [fmt.Stringer].
func (s String) String() string { return fmt.Sprint(s) }

// MarshalText implements [encoding.TextMarshaler] and so redacts the secret in JSON.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ReadFile reads a secret from a file, without trailing line breaks. It returns an error that
// wraps [ErrEmpty] if the file is empty, an error if the file is larger than 16 KiB, or an
// error of the file system.
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
		return "", fmt.Errorf("reading %q: the file is larger than %d bytes", path, maxFile)
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return "", fmt.Errorf("reading %q: %w", path, ErrEmpty)
	}
	return String(text), nil
}

// WriteFile writes a secret to a file that only its owner can read. If it returns nil, the
// file survives a power failure. After an error, the file is the old one or the new one,
// and complete. Its errors are those of the file system.
func WriteFile(path string, s String) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, filepath.Base(path)+"-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name()) // does nothing after the rename
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

// EnsureFile reads a secret from a file. If the file does not exist, EnsureFile writes
// created to it and returns created. Its errors are those of [ReadFile] and [WriteFile].
func EnsureFile(path string, created String) (String, error) {
	found, err := ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return found, err
	}
	if err := WriteFile(path, created); err != nil {
		return "", fmt.Errorf("writing %q: %w", path, err)
	}
	return created, nil
}

// syncDirectory makes the names of new files survive a power failure.
func syncDirectory(dir string) error {
	handle, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(handle.Sync(), handle.Close())
}
