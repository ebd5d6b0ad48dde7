//go:build !soak

package subscribertest_test

// rounds is how often a test kills the client and the server.
const rounds = 1
