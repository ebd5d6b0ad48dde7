//go:build soak

package viewer_test

// openCards is how many cards are open at once in the tests of many.
const openCards = 2000
