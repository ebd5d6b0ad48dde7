//go:build !linux

package load

import (
	"os"
	"syscall"
)

func childAttributes() *syscall.SysProcAttr { return nil }

// ResetPeakMemory does nothing on this system.
func ResetPeakMemory() {}

func usageOf(name string, _ int) Part { return Part{Name: name} }

func peakMemory(*os.ProcessState) int64 { return 0 }
