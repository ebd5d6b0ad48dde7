// Package crashtest holds the tests that break the machine under the program: the
// processes of roomlink and of NATS are killed under load, servers of a cluster die,
// freeze and are cut off from the others, the power of a disk is cut, disks fill up or
// fail, and clocks are set. All of it is real: processes of the very programs, SIGKILL,
// routes that swallow what passes, file systems of their own, system calls that answer
// EIO. It has no code of its own.
//
// What the tests hold: every event that was answered 2xx has one set of links or
// one dead letter, whatever was killed, cut or full, and auvious was asked for few
// rooms too many, which is counted against the simulator's own count.
//
//	go test ./internal/crashtest/                      # a short form, as CI runs it
//	go test -tags soak -v -timeout 30m ./internal/crashtest/
//
// The second kills twenty times, and cuts the power, and a server off, thrice each.
// What a test needs and does not find (root, loop devices, xfsprogs, strace) has it
// skipped, unless the environment says CI=true, where that is a failure.
package crashtest
