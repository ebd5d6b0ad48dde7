package programtest

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
)

// Command is a command to run.
type Command struct {
	// Path is the executable; roomlink if empty.
	Path string
	Args []string
	// Env is the whole environment, apart from PATH and a new HOME and TMPDIR.
	Env map[string]string
}

// Program is a started process.
type Program struct {
	tb       testing.TB
	cmd      *exec.Cmd
	out, log roomlinktest.Logbook
	done     chan struct{}
	// seen is the offset in the log after the lines that NextLine has read.
	seen int
}

// Start starts a process. It is killed when the test ends.
func Start(tb testing.TB, command Command) *Program {
	tb.Helper()
	if command.Path == "" {
		command.Path = Build(tb, Roomlink)
	}
	p := &Program{tb: tb, done: make(chan struct{})}
	//nolint:gosec,noctx // the command comes from the test, and Cleanup ends the process
	p.cmd = exec.Command(command.Path, command.Args...)
	p.cmd.Env = []string{"HOME=" + tb.TempDir(), "TMPDIR=" + tb.TempDir(), "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"}
	for name, value := range command.Env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("starting the program: %v", err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // Wait reads the exit code from the process state
	}()
	tb.Cleanup(func() {
		p.Kill()
		log := p.Log()
		if strings.Contains(log, "WARNING: DATA RACE") {
			tb.Errorf("the program has a race:\n%s", log)
		} else if tb.Failed() {
			tb.Logf("the end of the log of %s %q:\n%s", filepath.Base(command.Path), command.Args, end(log))
		}
	})
	return p
}

func end(text string) string {
	const maxEnd = 8 << 10
	return text[max(0, len(text)-maxEnd):]
}

// Run runs a process to its end and returns its exit code and output.
func Run(tb testing.TB, command Command) (code int, stdout, stderr string) {
	tb.Helper()
	p := Start(tb, command)
	code = p.Wait()
	return code, p.Output(), p.Log()
}

// Log returns the standard error of the process.
func (p *Program) Log() string { return strings.TrimSuffix(p.log.String(), "\n") }

// Line waits for a log line with the given fields and returns it.
func (p *Program) Line(fields map[string]string) map[string]any {
	p.tb.Helper()
	line, _ := p.lineFrom(fields, 0)
	return line
}

// NextLine is like Line, but starts after the line that it returned last.
func (p *Program) NextLine(fields map[string]string) map[string]any {
	p.tb.Helper()
	line, next := p.lineFrom(fields, p.seen)
	p.seen = next
	return line
}

// lineFrom is like Line, but starts at the given offset. It also returns the offset after the
// result.
func (p *Program) lineFrom(fields map[string]string, from int) (found map[string]any, next int) {
	p.tb.Helper()
	next = p.awaitLine(&p.log, fmt.Sprint(fields), from, func(text string) bool {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) != nil || !has(line, fields) {
			return false
		}
		found = line
		return true
	})
	return found, next
}

// AwaitLog waits for a log line that contains a text.
func (p *Program) AwaitLog(text string) {
	p.tb.Helper()
	p.awaitLine(&p.log, text, 0, func(line string) bool { return strings.Contains(line, text) })
}

// awaitLine waits for a line from the given offset on. It returns the offset after the line.
func (p *Program) awaitLine(book *roomlinktest.Logbook, what string, from int, wanted func(string) bool) (next int) {
	p.tb.Helper()
	deadline := time.After(roomlinktest.Timeout)
	for ended := false; ; {
		changed := book.Next()
		for line := range strings.Lines(book.From(from)) {
			if !ended && !strings.HasSuffix(line, "\n") {
				break // its end follows
			}
			from += len(line)
			if wanted(line) {
				return from
			}
		}
		if ended {
			p.tb.Fatalf("the program ended without a line %s:\n%s", what, p.Log())
		}
		select {
		case <-changed:
		case <-p.done:
			ended = true // check its last lines once more
		case <-deadline:
			p.tb.Fatalf("no line %s after %v:\n%s", what, roomlinktest.Timeout, p.Log())
		}
	}
}

func has(line map[string]any, fields map[string]string) bool {
	for key, want := range fields {
		if line[key] != want {
			return false
		}
	}
	return true
}

// Address waits until a part listens and returns its base URL.
func (p *Program) Address(part string) string {
	p.tb.Helper()
	line := p.Line(map[string]string{"message": "listening", "part": part})
	return fmt.Sprintf("http://%v", line["address"])
}

// Output returns the standard output of the process.
func (p *Program) Output() string { return p.out.String() }

// AwaitOutput waits for a line of the standard output that contains a text.
func (p *Program) AwaitOutput(text string) {
	p.tb.Helper()
	p.awaitLine(&p.out, text, 0, func(line string) bool { return strings.Contains(line, text) })
}

// Kill sends SIGKILL and waits for the end of the process. It may be called several times, and
// from any goroutine.
func (p *Program) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Signal sends the process a signal.
func (p *Program) Signal(signal syscall.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.tb.Fatalf("sending %v: %v", signal, err)
	}
}

// Stop sends SIGTERM, waits for the end of the process and returns its exit code.
func (p *Program) Stop() int {
	p.tb.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Wait waits for the process and returns its exit code.
func (p *Program) Wait() int {
	p.tb.Helper()
	roomlinktest.Receive(p.tb, p.done, "the end of the program")
	return p.cmd.ProcessState.ExitCode()
}

// PID returns the process ID.
func (p *Program) PID() int { return p.cmd.Process.Pid }
