package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"roomlink/internal/secret"
)

const word = "invented-password"

func TestStringNeverPrints(t *testing.T) {
	s := secret.String(word)
	type config struct {
		Name     string
		Password secret.String
	}
	for _, value := range []any{
		s, &s, []secret.String{s}, map[string]secret.String{"k": s}, config{"n", s}, &config{"n", s}, struct{ Inner any }{s},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#q", "%d", "%t", "%10.3s", "%-9v", "%c", "%U", "%e"} {
			wantHidden(t, fmt.Sprintf("%T with %s", value, verb), fmt.Sprintf(verb, value))
		}
		wantHidden(t, fmt.Sprintf("%T printed", value), fmt.Sprint(value))
		data, err := json.Marshal(value)
		if err != nil || !strings.Contains(string(data), "[redacted]") {
			t.Errorf("JSON of %T: got %s and error %v, want it redacted", value, data, err)
		}
		wantHidden(t, fmt.Sprintf("JSON of %T", value), string(data))
	}
}

func wantHidden(t *testing.T, what, text string) {
	t.Helper()
	flat := strings.ToLower(strings.ReplaceAll(text, " ", ""))
	if strings.Contains(flat, word) || strings.Contains(flat, "inv") || strings.Contains(flat, fmt.Sprintf("%x", word)) {
		t.Errorf("%s: got %q, want no secret", what, text)
	}
}

func TestStringInErrorsAndLogs(t *testing.T) {
	s := secret.String(word)
	wantHidden(t, "error", fmt.Errorf("asking with %q: %w", s, errors.New(s.String())).Error())
	var log bytes.Buffer
	zero := zerolog.New(&log)
	zero.Info().Stringer("a", s).Interface("b", s).Any("c", struct{ S secret.String }{s}).Msgf("with %v", s)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "a", s, "b", struct{ S secret.String }{s})
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "a", s)
	wantHidden(t, "log", log.String())
	if got := strings.Count(log.String(), "[redacted]"); got != 7 {
		t.Errorf("redacted in the log: got %d, want 7 in %s", got, log.String())
	}
}

func TestStringReveals(t *testing.T) {
	if got := secret.String(word).Reveal(); got != word {
		t.Errorf("Reveal: got %q, want %q", got, word)
	}
	if got, want := secret.String(word).String(), "[redacted]"; got != want {
		t.Errorf("String: got %q, want %q", got, want)
	}
	if got := fmt.Sprintf("%v%q", secret.String(""), secret.String("")) + secret.String("").String(); got != "" {
		t.Errorf("no secret: got %q, want nothing", got)
	}
}

func TestReadFile(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"plain":             {word, word},
		"line end":          {word + "\n", word},
		"Windows line end":  {word + "\r\n", word},
		"several line ends": {word + "\n\n", word},
		"spaces are kept":   {" " + word + " \n", " " + word + " "},
		"largest":           {strings.Repeat("x", 16<<10), strings.Repeat("x", 16<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := secret.ReadFile(written(t, test.content))
			if err != nil || got.Reveal() != test.want {
				t.Errorf("reading: got %q and error %v, want %q", got.Reveal(), err, test.want)
			}
		})
	}
}

func written(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatalf("writing: %v", err)
	}
	return path
}

func TestReadFileRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		path string
		want error
	}{
		"no file":        {filepath.Join(t.TempDir(), "none"), fs.ErrNotExist},
		"an empty file":  {written(t, ""), secret.ErrEmpty},
		"only line ends": {written(t, "\r\n\n"), secret.ErrEmpty},
		"too large":      {written(t, word+strings.Repeat("x", 16<<10)), nil},
		"a directory":    {t.TempDir(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := secret.ReadFile(test.path)
			if err == nil || got != "" {
				t.Fatalf("reading: got %q and error %v, want an error", got.Reveal(), err)
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error: got %v, want %v", err, test.want)
			}
			if !strings.Contains(err.Error(), test.path) {
				t.Errorf("error: got %v, want one that contains %q", err, test.path)
			}
			wantHidden(t, "error", err.Error())
		})
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	for _, want := range []secret.String{"first", "second"} {
		if err := secret.WriteFile(path, want); err != nil {
			t.Fatalf("writing: got error %v, want none", err)
		}
		if got, err := secret.ReadFile(path); err != nil || got != want {
			t.Errorf("reading it back: got another secret or error %v", err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode: got %v and error %v, want 0600", info.Mode(), err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left behind: got %d files and error %v, want the secret only", len(files), err)
	}
	if err := secret.WriteFile(filepath.Join(dir, "nowhere", "key"), "x"); err == nil {
		t.Error("writing into a missing directory: got no error, want one")
	}
}

func TestEnsureFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for _, created := range []secret.String{"first", "second"} {
		if got, err := secret.EnsureFile(path, created); err != nil || got != "first" {
			t.Errorf("ensuring: got another secret than the first or error %v", err)
		}
	}
	if got, err := secret.EnsureFile(written(t, ""), "new"); got != "" || !errors.Is(err, secret.ErrEmpty) {
		t.Errorf("ensuring an empty file: got error %v, want %v", err, secret.ErrEmpty)
	}
	if _, err := secret.EnsureFile(filepath.Join(path+"-nowhere", "key"), "new"); err == nil {
		t.Error("ensuring a file in a missing directory: got no error, want one")
	}
}
