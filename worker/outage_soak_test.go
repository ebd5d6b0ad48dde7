//go:build soak

package worker_test

import "time"

// outageLasts as long as those that happen.
const outageLasts = 2 * time.Minute
