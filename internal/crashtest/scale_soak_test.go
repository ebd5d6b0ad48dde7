//go:build soak

package crashtest_test

// How often a test breaks something.
const (
	kills      = 25
	cuts       = 3
	flips      = 200
	damageSeed = 0
)
