//go:build !soak

package crashtest_test

// How often a test breaks something: seldom, for every change. With the build tag
// soak it is often.
const (
	kills = 3
	cuts  = 1
)
