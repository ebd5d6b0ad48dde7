// Package faultynet contains the tests of network faults. In them, toxiproxy slows, cuts,
// swallows and resets the traffic to the broker and to auvious. The package has no code of
// its own.
//
// The tests check that:
//   - the webhook answers within five seconds, whatever the network does;
//   - it answers 503 with Retry-After if it cannot store an event;
//   - the system recovers by itself when the network does;
//   - every event that was answered 2xx gets exactly one set of links.
package faultynet
