package load

import (
	"os"
	"runtime/debug"
	"syscall"

	"github.com/prometheus/procfs"
)

// childAttributes makes a child die with the thread that starts it, and keeps a terminal's Ctrl-C from it:
// Ctrl-C ends the requests, not the parts under test.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// ResetPeakMemory starts the peak memory of this process anew, from what is in use. Where the kernel forbids
// that, the peak stays that of the whole process.
func ResetPeakMemory() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // see proc(5)
}

// usageOf returns the usage of a running process; only the name if it has ended.
func usageOf(name string, pid int) Part {
	used := Part{Name: name}
	process, err := procfs.NewProc(pid)
	if err != nil {
		return used
	}
	if stat, err := process.Stat(); err == nil {
		used.CPUSeconds = stat.CPUTime()
	}
	if status, err := process.NewStatus(); err == nil {
		used.PeakMemory = int64(status.VmHWM)
	}
	return used
}

// peakMemory returns the peak memory of an ended process, in bytes.
func peakMemory(state *os.ProcessState) int64 {
	if used, ok := state.SysUsage().(*syscall.Rusage); ok {
		return used.Maxrss << 10
	}
	return 0
}
