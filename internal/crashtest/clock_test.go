package crashtest_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
)

// TestClock steps the program's clock by an hour during a call to auvious, while other events wait
// for their first try or a retry. The access token must stay in use, every event must get its
// links, and no room may be made twice.
func TestClock(t *testing.T) {
	t.Parallel()
	for name, step := range map[string]time.Duration{"ahead": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testClock(t, step)
		})
	}
}

func testClock(t *testing.T, step time.Duration) {
	t.Helper()
	const events, held = 40, "held"
	auvious := programtest.StartAuvious(t, simulator.Config{KeepRequests: -1})
	env := environment(t, auvious)
	p := programtest.Start(t, programtest.Command{Args: []string{"serve"}, Env: env})
	clock := clockOf(t, p)
	var accepted []string
	post := func(id string) {
		t.Helper()
		if got := programtest.Post(t, p.Address("public"), id); got.Status/100 != 2 {
			t.Fatalf("posting %q: got %d %q, want 2xx", id, got.Status, got.Fields["error"])
		}
		accepted = append(accepted, id)
	}
	post("before")
	programtest.Ready(t, p.Address("public"), "before")

	called, release := make(chan struct{}), make(chan struct{})
	auvious.Script(func(call simulator.Call) *simulator.Answer {
		if call.InteractionID != held {
			return &simulator.Answer{Status: http.StatusServiceUnavailable}
		}
		close(called)
		return &simulator.Answer{Wait: release}
	})
	post(held)
	roomlinktest.Receive(t, called, "a call to auvious")
	for i := range events {
		post(fmt.Sprintf("call-%d", i))
	}
	p.Line(map[string]string{"message": "breaker changed", "breaker": "open"})
	tokens := auvious.Stats().TokenCalls

	clock.step(step)
	close(release)
	auvious.Script(nil)
	post("after")
	for _, id := range accepted {
		programtest.Ready(t, p.Address("public"), id)
	}
	drain(t, p)
	line := p.Line(map[string]string{"message": "links stored", "interaction_id": "after"})
	at, err := time.Parse(time.RFC3339, fmt.Sprint(line["time"]))
	if stepped := time.Until(at); err != nil || (stepped-step).Abs() > step.Abs()/2 {
		t.Errorf("the program's clock: got %v ahead and error %v, want %v", stepped, err, step)
	}
	if got := auvious.Stats().TokenCalls; got != tokens {
		t.Errorf("access tokens fetched after the step: got %d, want none", got-tokens)
	}
	reconcile(t, stop(t, p, env), auvious, accepted, 0)
}

// TestClockBetweenStarts kills the program while its clock is an hour ahead and restarts it with
// the correct clock. Events that wait for a retry must not wait for that hour.
func TestClockBetweenStarts(t *testing.T) {
	t.Parallel()
	const events = 40
	auvious := programtest.StartAuvious(t, simulator.Config{KeepRequests: -1})
	env := environment(t, auvious)
	serve := programtest.Command{Args: []string{"serve"}, Env: env}
	p := programtest.Start(t, serve)
	clockOf(t, p).step(time.Hour)
	auvious.Script(func(simulator.Call) *simulator.Answer {
		return &simulator.Answer{Status: http.StatusServiceUnavailable}
	})
	accepted := make([]string, events)
	for i := range accepted {
		accepted[i] = fmt.Sprintf("call-%d", i)
		if got := programtest.Post(t, p.Address("public"), accepted[i]); got.Status/100 != 2 {
			t.Fatalf("posting %q: got %d %q, want 2xx", accepted[i], got.Status, got.Fields["error"])
		}
	}
	p.Line(map[string]string{"message": "breaker changed", "breaker": "open"})
	p.Kill()
	auvious.Script(nil)
	p = programtest.Start(t, serve)
	for _, id := range accepted {
		programtest.Ready(t, p.Address("public"), id)
	}
	drain(t, p)
	reconcile(t, stop(t, p, env), auvious, accepted, 0)
}

// clock is the wall clock of a process. Its monotonic clock is unchanged, as when an operator sets
// the clock of a machine.
type clock struct {
	tb     testing.TB
	memory *os.File
	// offset is the address of the seconds that the process adds to the machine's clock.
	offset int64
}

// stub calls the kernel's clock_gettime. For the wall clock it adds the 64-bit number after the
// code to the seconds of the result.
var stub = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
	0x75, 0x0a, // jnz to the end
	0x48, 0x8b, 0x0d, 0x0e, 0x00, 0x00, 0x00, // mov rcx, [rip+14]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3,                                                       // ret
	0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, // up to 32 bytes
	0, 0, 0, 0, 0, 0, 0, 0,
}

// clockOf takes control of the clock of a process. A Go program reads the clock with a function
// that the kernel maps into its memory, the vDSO. clockOf makes that function jump to the stub.
func clockOf(tb testing.TB, p *programtest.Program) *clock {
	tb.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		programtest.Skipf(tb, "setting the clock of a process requires linux/amd64")
	}
	p.Address("public") // wait for the end of its start
	p.Signal(syscall.SIGSTOP)
	defer p.Signal(syscall.SIGCONT)
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", p.PID()), os.O_RDWR, 0)
	if err != nil {
		programtest.Skipf(tb, "opening the memory of a process: %v", err)
	}
	tb.Cleanup(func() { _ = memory.Close() })
	start, image := vdso(tb, p.PID(), memory)
	function := symbol(tb, image, "__vdso_clock_gettime")
	free := (len(bytes.TrimRight(image, "\x00")) + 63) &^ 63 // after the existing code
	if free+len(stub) > len(image) {
		tb.Fatalf("the vDSO has %d bytes: got no space for %d more", len(image), len(stub))
	}
	jump := bytes.Clone(image[function : function+8]) // one write, because other threads may execute it
	jump[0] = 0xe9
	binary.LittleEndian.PutUint32(jump[1:], uint32(free-function-5))
	c := &clock{tb, memory, start + int64(free) + int64(len(stub)) - 8}
	c.write(start+int64(free), stub)
	c.write(start+int64(function), jump)
	return c
}

// step sets the offset from the machine's clock.
func (c *clock) step(by time.Duration) {
	c.tb.Helper()
	c.write(c.offset, binary.LittleEndian.AppendUint64(nil, uint64(by/time.Second)))
}

func (c *clock) write(at int64, data []byte) {
	c.tb.Helper()
	if _, err := c.memory.WriteAt(data, at); err != nil {
		c.tb.Fatalf("writing to the memory of a process: %v", err)
	}
}

// vdso returns the address and the contents of the vDSO of a process.
func vdso(tb testing.TB, pid int, memory *os.File) (start int64, image []byte) {
	tb.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		tb.Fatalf("reading the memory map of a process: %v", err)
	}
	for line := range strings.Lines(string(maps)) {
		var end int64
		if !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &start, &end); err != nil {
			tb.Fatalf("reading %q: %v", line, err)
		}
		image = make([]byte, end-start)
		if _, err := memory.ReadAt(image, start); err != nil {
			tb.Fatalf("reading the memory of a process: %v", err)
		}
		return start, image
	}
	programtest.Skipf(tb, "the kernel has no vDSO")
	return 0, nil
}

// symbol returns the offset of a function in an image.
func symbol(tb testing.TB, image []byte, name string) int {
	tb.Helper()
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		tb.Fatalf("reading the vDSO: %v", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		tb.Fatalf("reading the vDSO: %v", err)
	}
	for _, s := range symbols {
		if s.Name == name {
			return int(s.Value)
		}
	}
	tb.Fatalf("the vDSO has no %s", name)
	return 0
}
