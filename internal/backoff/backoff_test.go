package backoff_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"roomlink/internal/backoff"
)

func TestDelay(t *testing.T) {
	retry := backoff.Backoff{Min: time.Second, Max: time.Minute}
	exact := backoff.Backoff{Min: 250 * time.Millisecond, Max: 2 * time.Second}
	longest := backoff.Backoff{Min: 1, Max: math.MaxInt64}
	constant := backoff.Backoff{Min: time.Second, Max: time.Second}
	for _, test := range []struct {
		name     string
		backoff  backoff.Backoff
		attempts uint64
		want     time.Duration
	}{
		{"no attempt", retry, 0, time.Second},
		{"first", retry, 1, time.Second},
		{"second", retry, 2, 2 * time.Second},
		{"last below the maximum", retry, 6, 32 * time.Second},
		{"first at the maximum", retry, 7, time.Minute},
		{"far beyond the maximum", retry, 64, time.Minute},
		{"largest count", retry, math.MaxUint64, time.Minute},
		{"maximum is a power of two of the minimum", exact, 4, 2 * time.Second},
		{"after that power of two", exact, 5, 2 * time.Second},
		{"largest shift", longest, 63, 1 << 62},
		{"shift beyond 63 bits", longest, 64, math.MaxInt64},
		{"minimum equals maximum", constant, 1, time.Second},
		{"minimum equals maximum, second", constant, 2, time.Second},
	} {
		if got := test.backoff.Delay(test.attempts); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func ExampleBackoff_Delay() {
	b := backoff.Backoff{Min: 250 * time.Millisecond, Max: 2 * time.Second}
	for attempts := range uint64(5) {
		fmt.Println(b.Delay(attempts + 1))
	}
	// Output:
	// 250ms
	// 500ms
	// 1s
	// 2s
	// 2s
}
