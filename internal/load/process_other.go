//go:build !linux

package load

import "syscall"

// tiedToParent has a process end when we do, where the system can do that.
func tiedToParent() *syscall.SysProcAttr { return nil }
