//go:build soak

package crashtest_test

// How often a test breaks something.
const (
	kills = 20
	cuts  = 3
)
