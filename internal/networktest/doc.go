// Package networktest gives tests a network that can be broken: toxiproxy, in the
// process of the test, stands before a server, and slows, cuts, swallows and resets
// what passes. It is for tests alone.
//
//	network := networktest.New(t, server.Addr().String())
//	client := dial(network.Address())
//	network.Suffer(networktest.BlackHole()...)
//	… // whatever the client is to do now
//	network.Heal()
package networktest
