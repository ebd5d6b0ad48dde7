package broker_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"roomlink/internal/broker"
)

func TestPrepareDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "several", "new", "directories")
	for range 2 {
		if err := broker.PrepareDirectory(dir); err != nil {
			t.Fatalf("preparing: got error %v, want none", err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: got %d files and error %v, want none", len(left), err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode: got %v and error %v, want 0700", info.Mode(), err)
	}
}

func TestPrepareDirectoryRefusesFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		err := broker.PrepareDirectory(dir)
		if !errors.Is(err, broker.ErrDirectory) || !strings.Contains(err.Error(), "a file has its name") {
			t.Errorf("preparing %q: got error %v, want %v that says what to do", filepath.Base(dir), err, broker.ErrDirectory)
		}
	}
}
