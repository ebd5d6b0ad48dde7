//go:build !soak

package worker_test

import "time"

// outageLasts is short, for every change. With the tag soak it is two minutes.
const outageLasts = 9 * time.Second
