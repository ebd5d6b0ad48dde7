package load

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopTimeout bounds the stop of a child before it is killed.
const stopTimeout = 30 * time.Second

// OwnUsage returns what this process has used since its start, under a name.
func OwnUsage(name string) Part { return usageOf(name, os.Getpid()) }

// Process is a part under test: roomlink as a child of this process. It can be killed and started again. Only
// one goroutine may use it at a time.
type Process struct {
	// Name is that of [Part].
	Name        string
	Arguments   []string
	Environment []string
	// Log receives the standard output and the standard error.
	Log *os.File

	// command is the last process. stop sends it SIGTERM, and exited is closed when it has ended.
	command *exec.Cmd
	stop    context.CancelFunc
	exited  chan struct{}
	// stopped reports that the process was told to end.
	stopped bool
	// past is the usage of the processes before it.
	past Part
}

// Start starts the process. When ctx ends, the process stops as an operator stops it.
func (p *Process) Start(ctx context.Context) error {
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding our own program: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	command := exec.CommandContext(ctx, executable, p.Arguments...) //nolint:gosec // it is ourselves
	command.Env, command.Stdout, command.Stderr = p.Environment, p.Log, p.Log
	command.SysProcAttr = childAttributes()
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopTimeout
	started, exited := make(chan error), make(chan struct{})
	go func() {
		defer close(exited)
		runtime.LockOSThread() // the child dies with its thread
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // the state says how it ended
		}
	}()
	if err := <-started; err != nil {
		stop()
		return fmt.Errorf("starting the process %q: %w", p.Name, err)
	}
	if p.command != nil {
		p.past = p.Usage()
	}
	p.command, p.stop, p.exited, p.stopped = command, stop, exited, false
	return nil
}

// Kill ends the process as a crash does and waits until it has ended. It returns the error of [Process.Err].
func (p *Process) Kill() error {
	return p.end(func() { _ = p.command.Process.Kill() }) // it may have ended just now
}

// Stop ends the process as an operator does and waits until it has ended. It returns the error of
// [Process.Err].
func (p *Process) Stop() error { return p.end(p.stop) }

func (p *Process) end(signal func()) error {
	err := p.Err()
	p.stopped = true
	signal()
	<-p.exited
	p.stop()
	return err
}

// running reports whether the process has not ended.
func (p *Process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Usage returns what the process and those before it have used.
func (p *Process) Usage() Part {
	used := p.past
	used.Name = p.Name
	last := usageOf(p.Name, p.command.Process.Pid)
	if !p.running() {
		state := p.command.ProcessState
		last.CPUSeconds, last.PeakMemory = (state.UserTime() + state.SystemTime()).Seconds(), peakMemory(state)
	}
	used.CPUSeconds += last.CPUSeconds
	used.PeakMemory = max(used.PeakMemory, last.PeakMemory)
	return used
}

// Err returns an error if the process has ended by itself.
func (p *Process) Err() error {
	if p.running() || p.stopped {
		return nil
	}
	return fmt.Errorf("the process %q ended by itself (%v): see --log-file", p.Name, p.command.ProcessState)
}
