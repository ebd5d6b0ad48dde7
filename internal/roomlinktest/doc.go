// Package roomlinktest is the support that the tests of all packages share: a real
// embedded broker, conversations to store on it, a network that can be broken, and
// waits that end. Only tests import it.
//
// Each file is about one subject. Every wait ends after [Timeout], and the test with
// it. Processes of the program are in package programtest.
package roomlinktest
