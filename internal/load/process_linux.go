package load

import "syscall"

// tiedToParent has a process end when we do, however we end, and keeps a terminal's
// Ctrl-C from it: that ends the requests, and not what they are sent to.
func tiedToParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
