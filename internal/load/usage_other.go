//go:build !linux

package load

// Own returns what this process has used, under a name. It is not known here.
func Own(name string) Usage { return Usage{Name: name} }

// ForgetPeak has the peak of this process' memory begin anew.
func ForgetPeak() {}

// Of returns what another process has used, under a name. It is not known here.
func Of(name string, _ int) Usage { return Usage{Name: name} }
