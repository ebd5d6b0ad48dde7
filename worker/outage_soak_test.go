//go:build soak

package worker_test

import "time"

// outageDuration is that of a real outage.
const outageDuration = 2 * time.Minute
