//go:build !soak

package worker_test

import "time"

// outageDuration is short. With the build tag soak it is two minutes.
const outageDuration = 9 * time.Second
