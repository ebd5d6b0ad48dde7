//go:build !soak

package viewer_test

// openCards is how many cards are open at once in the tests of many; 2,000 of them
// with the build tag soak.
const openCards = 200
