package main

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"roomlink/internal/programtest"
)

// asProgram has the test binary be the program itself, so that the tests start,
// stop and kill what production runs without building it once more.
const asProgram = "ROOMLINK_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(programtest.Main(m))
}

// program says how to run the program with arguments and an environment of its
// own.
func program(env map[string]string, args ...string) programtest.Command {
	env = maps.Clone(env)
	if env == nil {
		env = map[string]string{}
	}
	env[asProgram] = "1"
	return programtest.Command{Path: os.Args[0], Args: args, Env: env}
}

// start runs the program for the length of a test.
func start(t *testing.T, env map[string]string, args ...string) *programtest.Program {
	t.Helper()
	return programtest.Start(t, program(env, args...))
}

// command runs the program to its end and returns what it printed.
func command(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return programtest.Run(t, program(env, args...))
}

// writeFiles writes files into a directory. A reader sees the former file or the new
// one, never half of it.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}
