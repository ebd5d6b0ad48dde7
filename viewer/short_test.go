//go:build !soak

package viewer_test

// openCards is the number of cards that are open at the same time. The build tag soak
// raises it.
const openCards = 200
