//go:build !race

package programtest

// withRace reports whether the tests run with the race detector.
const withRace = false
