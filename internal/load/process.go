package load

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// stopWithin is how long a child may take to stop before it is killed.
const stopWithin = 30 * time.Second

// ownCommand returns a command that runs our own program. On Linux the child dies with
// the thread that starts it, so that thread must be locked until the child has ended.
func ownCommand(ctx context.Context, arguments ...string) (*exec.Cmd, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding our own program: %w", err)
	}
	//nolint:gosec // it is ourselves
	command := exec.CommandContext(ctx, executable, arguments...)
	command.SysProcAttr = tiedToParent()
	return command, nil
}

// Process is a part under test that runs as a child of this process, and can be
// killed and started again.
type Process struct {
	// Name is as in [Part].
	Name        string
	Arguments   []string
	Environment []string
	// Log is where it writes.
	Log *os.File

	mu      sync.Mutex
	process *os.Process
	// done is closed when the process has ended; wanted says that it was to.
	done   chan struct{}
	wanted bool
	fault  error
	// used is what the processes before have used.
	used Usage
}

// Start starts the process. It is killed when the context ends.
func (p *Process) Start(ctx context.Context) error {
	command, err := ownCommand(ctx, p.Arguments...)
	if err != nil {
		return err
	}
	command.Env, command.Stdout, command.Stderr = p.Environment, p.Log, p.Log
	started := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := command.Start()
		if err == nil {
			p.mu.Lock()
			p.process, p.done, p.wanted = command.Process, done, false
			p.mu.Unlock()
		}
		started <- err
		if err == nil {
			_ = command.Wait() // how it ended is in its state
			p.ended(command.ProcessState)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting the process %q: %w", p.Name, err)
	}
	return nil
}

// ended notes what a process used, and whether it was to end.
func (p *Process) ended(state *os.ProcessState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process = nil
	p.used = addUsage(p.used, usageOfEnded(p.Name, state))
	if !p.wanted && p.fault == nil {
		p.fault = fmt.Errorf("the process %q ended by itself (%v): --log-file has its lines", p.Name, state)
	}
}

func addUsage(a, b Usage) Usage {
	return Usage{Name: b.Name, CPU: a.CPU + b.CPU, PeakMemory: max(a.PeakMemory, b.PeakMemory)}
}

// Kill ends the process as a crash does, and returns when it has ended. It returns an
// error if it had ended by itself.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

// Stop ends the process as an operator does, with the error of [Process.Kill].
func (p *Process) Stop() error { return p.end(syscall.SIGTERM) }

func (p *Process) end(signal os.Signal) error {
	p.mu.Lock()
	process, done := p.process, p.done
	p.wanted = true
	if process != nil {
		_ = process.Signal(signal) // one that has just ended needs none
	}
	p.mu.Unlock()
	if done != nil {
		select {
		case <-done:
		case <-time.After(stopWithin):
			_ = process.Kill()
			<-done
		}
	}
	return p.Fault()
}

// Usage is what the process used, and those before it.
func (p *Process) Usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return p.used
	}
	return addUsage(p.used, usageOf(p.Name, p.process.Pid))
}

// Fault returns an error if the process has ended by itself.
func (p *Process) Fault() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}
