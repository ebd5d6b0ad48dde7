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

// stopTimeout bounds the stop of a child before it is killed.
const stopTimeout = 30 * time.Second

// Usage is what a part has used since its start.
type Usage struct {
	// Name is that of [Part].
	Name string
	// CPU is the time on any core.
	CPU time.Duration
	// PeakMemory is the peak of the resident memory, in bytes.
	PeakMemory int64
}

// OwnUsage returns the usage of this process under a name.
func OwnUsage(name string) Usage { return usageOf(name, os.Getpid()) }

// Process is a part under test: roomlink as a child of this process. It can be killed and started again.
type Process struct {
	// Name is that of [Part].
	Name        string
	Arguments   []string
	Environment []string
	// Log receives the standard output and the standard error.
	Log *os.File

	mu sync.Mutex
	// process is nil when none runs.
	process *os.Process
	// exited is closed when the last process has ended. stopping reports whether it was told to end, and err
	// says why one ended by itself.
	exited   chan struct{}
	stopping bool
	err      error
	// past is the usage of the processes that have ended.
	past Usage
}

// Start starts the process, which is killed when ctx ends.
func (p *Process) Start(ctx context.Context) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding our own program: %w", err)
	}
	command := exec.CommandContext(ctx, executable, p.Arguments...) //nolint:gosec // it is ourselves
	command.Env, command.Stdout, command.Stderr = p.Environment, p.Log, p.Log
	command.SysProcAttr = childAttributes()
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(exited)
		runtime.LockOSThread() // the child dies with its thread
		defer runtime.UnlockOSThread()
		err := command.Start()
		if err == nil {
			p.mu.Lock()
			p.process, p.exited, p.stopping = command.Process, exited, false
			p.mu.Unlock()
		}
		started <- err
		if err == nil {
			_ = command.Wait() // the state says how it ended
			p.ended(command.ProcessState)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting the process %q: %w", p.Name, err)
	}
	return nil
}

func (p *Process) ended(state *os.ProcessState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process = nil
	p.past = p.with(Usage{p.Name, state.UserTime() + state.SystemTime(), peakMemory(state)})
	if !p.stopping && p.err == nil {
		p.err = fmt.Errorf("the process %q ended by itself (%v): see --log-file", p.Name, state)
	}
}

// with returns the past usage together with that of one more process.
func (p *Process) with(u Usage) Usage {
	return Usage{p.Name, p.past.CPU + u.CPU, max(p.past.PeakMemory, u.PeakMemory)}
}

// Kill ends the process as a crash does and waits until it has ended. It returns the error of [Process.Err].
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

// Stop ends the process as an operator does and waits until it has ended. It returns the error of
// [Process.Err].
func (p *Process) Stop() error { return p.end(syscall.SIGTERM) }

func (p *Process) end(signal os.Signal) error {
	p.mu.Lock()
	process, exited := p.process, p.exited
	p.stopping = true
	if process != nil {
		_ = process.Signal(signal) // it may have ended just now
	}
	p.mu.Unlock()
	if process != nil {
		select {
		case <-exited:
		case <-time.After(stopTimeout):
			_ = process.Kill()
			<-exited
		}
	}
	return p.Err()
}

// Usage returns the usage of the process and of those before it.
func (p *Process) Usage() Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return p.past
	}
	return p.with(usageOf(p.Name, p.process.Pid))
}

// Err returns an error if the process has ended by itself.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
