package load

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat, which Linux has fixed for its
// interfaces at a hundredth of a second (proc(5), sysconf(3)).
const clockTick = 10 * time.Millisecond

// Own returns what this process has used, under a name.
func Own(name string) Usage {
	usage := Usage{Name: name, PeakMemory: peakMemory("self")}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err == nil {
		usage.CPU = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	return usage
}

// ForgetPeak has the peak of this process' memory begin anew, from what is in use.
func ForgetPeak() {
	debug.FreeOSMemory()
	// 5 resets the high water mark (proc(5)); where that may not be done, the peak is
	// that of the whole process.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// usageOf returns what another process has used, under a name; nothing of one that has
// gone.
func usageOf(name string, pid int) Usage {
	process := strconv.Itoa(pid)
	usage := Usage{Name: name, PeakMemory: peakMemory(process)}
	data, err := os.ReadFile("/proc/" + process + "/stat")
	if err != nil {
		return usage
	}
	// The name in parentheses may hold anything; state is the first field behind it,
	// and the two times are the 12th and 13th.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	const user, system = 11, 12
	if len(fields) > system {
		for _, field := range []string{fields[user], fields[system]} {
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err == nil {
				usage.CPU += time.Duration(ticks) * clockTick
			}
		}
	}
	return usage
}

// usageOfEnded returns what a process used that was waited for, under a name.
func usageOfEnded(name string, state *os.ProcessState) Usage {
	usage := Usage{Name: name, CPU: state.UserTime() + state.SystemTime()}
	if used, ok := state.SysUsage().(*syscall.Rusage); ok {
		usage.PeakMemory = used.Maxrss << 10
	}
	return usage
}

// peakMemory is the high water mark of a process' resident memory, in bytes.
func peakMemory(process string) int64 {
	data, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "\nVmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscanf(rest, "%d", &kilobytes); err != nil {
		return 0
	}
	return kilobytes << 10
}
