// Package faultynet holds the tests of broken networks: toxiproxy stands between
// us and the broker, and between us and auvious, and slows, cuts, swallows and
// resets what passes. It has no code of its own.
//
// What the tests hold: a webhook answers within five seconds whatever the network
// does, and says 503 with Retry-After where it could not store; once the network
// is well everything goes on by itself; and every event that was answered 2xx has
// one set of links.
package faultynet
