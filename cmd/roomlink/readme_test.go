package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"roomlink/internal/app"

	"github.com/alecthomas/kong"
)

const referencePath = "../../docs/reference.md"

// settingRow is the row of a setting in the reference.
func settingRow(name, fallback, help string) string {
	if fallback != "" {
		fallback = "`" + fallback + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s |", name, fallback, help)
}

// settingRows returns the rows of all settings and secrets.
func settingRows(t *testing.T) []string {
	t.Helper()
	var commands commandLine
	parser, err := kong.New(&commands)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, command := range []string{"serve", "webhook", "worker", "viewer"} {
		i := slices.IndexFunc(parser.Model.Children, func(n *kong.Node) bool { return n.Name == command })
		for _, flag := range parser.Model.Children[i].Flags {
			for _, name := range flag.Envs {
				help := strings.ReplaceAll(flag.Help, "${enum}", strings.ReplaceAll(flag.Enum, ",", ", "))
				if row := settingRow(name, flag.Default, help); !slices.Contains(rows, row) {
					rows = append(rows, row)
				}
			}
		}
	}
	for _, s := range app.Secrets() {
		rows = append(rows, settingRow(s.Name+"[_FILE]", "", s.Help))
	}
	return rows
}

// TestReferenceSettings compares the settings and secrets in the reference with the program's.
func TestReferenceSettings(t *testing.T) {
	document := readFile(t, referencePath)
	rows := settingRows(t)
	for _, row := range rows {
		if !strings.Contains(document, row) {
			t.Errorf("%s lacks\n%s", referencePath, row)
		}
	}
	known := strings.Join(rows, "\n")
	for _, match := range regexp.MustCompile("(?m)^\\| `(ROOMLINK_[A-Z_]+)").FindAllStringSubmatch(document, -1) {
		if !strings.Contains(known, "`"+match[1]) {
			t.Errorf("%s has %s, which the program does not know", referencePath, match[1])
		}
	}
}

// TestReferenceCommands looks for each command in the reference.
func TestReferenceCommands(t *testing.T) {
	document := readFile(t, referencePath)
	var commands commandLine
	parser, err := kong.New(&commands)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range parser.Model.Leaves(true) {
		if name := "`roomlink " + strings.TrimPrefix(node.Path(), "roomlink ") + "`"; !strings.Contains(document, name) {
			t.Errorf("%s lacks %s", referencePath, name)
		}
	}
}

// TestReadme checks that README.md stays short and names the two commands that a newcomer needs.
func TestReadme(t *testing.T) {
	const maxLines = 150
	document := readFile(t, "../../README.md")
	if lines := strings.Count(document, "\n"); lines > maxLines {
		t.Errorf("got %d lines, want at most %d", lines, maxLines)
	}
	for _, command := range []string{"\ngo run ./cmd/roomlink demo\n", "\ngo test ./...\n"} {
		if !strings.Contains(document, command) {
			t.Errorf("README.md lacks the command %q", strings.TrimSpace(command))
		}
	}
}

// TestHelp looks for settings and secrets in the help of "serve".
func TestHelp(t *testing.T) {
	t.Parallel()
	code, out, _ := command(t, nil, "serve", "--help")
	if code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
	for _, want := range []string{"ROOMLINK_LISTEN", "ROOMLINK_CONCURRENCY", "ROOMLINK_AUVIOUS_CLIENT_SECRET", "never by flag"} {
		if !strings.Contains(out, want) {
			t.Errorf("the help misses %q", want)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
