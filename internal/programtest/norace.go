//go:build !race

package programtest

// withRace tells whether the tests run with the race detector.
const withRace = false
