// Package crashtest contains the tests of failures of the machine. In them, processes of
// roomlink and NATS are killed under load, servers of a cluster are killed, frozen and
// partitioned, a disk loses power, fills up or fails, and the clock is set. The tests use real
// processes, SIGKILL, network partitions, file systems and failing system calls. The package has
// no code of its own.
//
// The tests check that every event that was answered 2xx gets exactly one set of links or one
// dead letter. They compare the number of orphan rooms with the count of the simulator.
//
//	go test ./internal/crashtest/                             # the short form, as in CI
//	go test -tags soak -v -timeout 30m ./internal/crashtest/  # the long form
//
// The long form kills twenty times instead of three times, and repeats power failures and
// partitions three times. Some tests need root, loop devices, xfsprogs or strace. They are skipped
// without them, but with CI=true in the environment they fail.
package crashtest
