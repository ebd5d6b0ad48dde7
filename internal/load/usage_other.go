//go:build !linux

package load

import "os"

// Own returns what this process has used, under a name. It is not known here.
func Own(name string) Usage { return Usage{Name: name} }

// ForgetPeak has the peak of this process' memory begin anew, from what is in use.
func ForgetPeak() {}

// Of returns what another process has used, under a name. It is not known here.
func Of(name string, _ int) Usage { return Usage{Name: name} }

// Ended returns what a process used that was waited for, under a name.
func Ended(name string, state *os.ProcessState) Usage {
	return Usage{Name: name, CPU: state.UserTime() + state.SystemTime()}
}
