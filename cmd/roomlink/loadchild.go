package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"roomlink/internal/load"
)

// childGrace is how long a part may take to stop before it is killed.
const childGrace = 30 * time.Second

// child is a part of a load test that runs as a process of its own, and can be
// killed and started again.
type child struct {
	// name is as in [load.Part].
	name        string
	executable  string
	arguments   []string
	environment []string
	log         *os.File

	mu      sync.Mutex
	process *os.Process
	// done is closed when the process has ended; wanted says that it was to.
	done   chan struct{}
	wanted bool
	fault  error
	// used is what the processes before have used.
	used load.Usage
}

// start starts the process. It is killed when ctx ends.
func (c *child) start(ctx context.Context) error {
	started := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		// What ends with its parent ends with the very thread that started it
		// (prctl(2), PR_SET_PDEATHSIG), so that one is kept.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		//nolint:gosec // it is ourselves
		command := exec.CommandContext(ctx, c.executable, c.arguments...)
		command.Env, command.Stdout, command.Stderr = c.environment, c.log, c.log
		command.SysProcAttr = tiedToParent()
		err := command.Start()
		if err == nil {
			c.mu.Lock()
			c.process, c.done, c.wanted = command.Process, done, false
			c.mu.Unlock()
		}
		started <- err
		if err == nil {
			_ = command.Wait() // how it ended is in its state
			c.ended(command.ProcessState)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting the process %q: %w", c.name, err)
	}
	return nil
}

// ended notes what a process used, and whether it was to end.
func (c *child) ended(state *os.ProcessState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.process = nil
	c.used = addUsage(c.used, load.Ended(c.name, state))
	if !c.wanted && c.fault == nil {
		c.fault = fmt.Errorf("the process %q ended by itself (%v): --log-file has its lines", c.name, state)
	}
}

func addUsage(a, b load.Usage) load.Usage {
	return load.Usage{Name: b.Name, CPU: a.CPU + b.CPU, PeakMemory: max(a.PeakMemory, b.PeakMemory)}
}

// end signals the process and waits until it has ended. It returns an error if it
// had ended by itself.
func (c *child) end(signal os.Signal) error {
	c.mu.Lock()
	process, done := c.process, c.done
	c.wanted = true
	if process != nil {
		_ = process.Signal(signal) // one that has just ended needs none
	}
	c.mu.Unlock()
	if done != nil {
		select {
		case <-done:
		case <-time.After(childGrace):
			_ = process.Kill()
			<-done
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}

// kill ends the process as a crash does.
func (c *child) kill() error { return c.end(syscall.SIGKILL) }

// stop ends the process as an operator does.
func (c *child) stop() error { return c.end(syscall.SIGTERM) }

// usage is what it used, and those before it.
func (c *child) usage() load.Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return c.used
	}
	return addUsage(c.used, load.Of(c.name, c.process.Pid))
}

// alive returns an error if the process has ended by itself.
func (c *child) alive() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fault
}
