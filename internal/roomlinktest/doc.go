// Package roomlinktest supports the tests of all packages: a real embedded broker,
// messages to store on it, a network that breaks on demand, and waits that end. Only
// tests import it.
//
// Each file has one subject. Every wait ends after [Timeout] and fails its test.
// Package programtest runs the program as a process.
package roomlinktest
