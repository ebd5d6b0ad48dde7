package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// readmeRow is a setting as the README's table has it.
func readmeRow(name, fallback, help string) string {
	if fallback != "" {
		fallback = "`" + fallback + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s |", name, fallback, help)
}

// settingRows are the rows of all settings, in the order of the code.
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
				if row := readmeRow(name, flag.Default, help); !slices.Contains(rows, row) {
					rows = append(rows, row)
				}
			}
		}
	}
	for _, s := range secretSettings {
		rows = append(rows, readmeRow(s.name+"[_FILE]", "", s.help))
	}
	return rows
}

// TestReadmeSettings holds the README's list of settings to the program's: all of
// them, with their defaults, and no others.
func TestReadmeSettings(t *testing.T) {
	readme := readFile(t, "../../README.md")
	rows := settingRows(t)
	for _, row := range rows {
		if !strings.Contains(readme, row) {
			t.Errorf("the README misses\n%s", row)
		}
	}
	known := strings.Join(rows, "\n")
	for _, match := range regexp.MustCompile("(?m)^\\| `(ROOMLINK_[A-Z_]+)").FindAllStringSubmatch(readme, -1) {
		if !strings.Contains(known, "`"+match[1]) {
			t.Errorf("the README has %s, which the program does not know", match[1])
		}
	}
}

// TestReadmeCommands holds the README's commands to the program's.
func TestReadmeCommands(t *testing.T) {
	readme := readFile(t, "../../README.md")
	var commands commandLine
	parser, err := kong.New(&commands)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range parser.Model.Leaves(true) {
		if name := "`roomlink " + strings.TrimPrefix(node.Path(), "roomlink "); !strings.Contains(readme, name) {
			t.Errorf("the README misses %s`", name)
		}
	}
}

// TestHelp holds the help of "serve" to the settings.
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
