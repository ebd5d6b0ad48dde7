//go:build !linux

package load

import "os"

// Own returns what this process has used, under a name. It is not known here.
func Own(name string) Usage { return Usage{Name: name} }

// ForgetPeak has the peak of this process' memory begin anew, from what is in use.
func ForgetPeak() {}

// usageOf returns what another process has used, under a name. It is not known here.
func usageOf(name string, _ int) Usage { return Usage{Name: name} }

// usageOfEnded returns what a process used that was waited for, under a name.
func usageOfEnded(name string, state *os.ProcessState) Usage {
	return Usage{Name: name, CPU: state.UserTime() + state.SystemTime()}
}
