//go:build !soak

package crashtest_test

// How often a test breaks something. The build tag soak selects larger numbers.
const (
	kills = 3
	cuts  = 1
	flips = 6
	// damageSeed chooses the bytes; 0 for others each time.
	damageSeed = 17
)
