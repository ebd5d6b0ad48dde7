package roomlinktest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"roomlink/internal/access"
	"roomlink/internal/store"
	"roomlink/messages"
)

// sentinelErrors are the sentinel errors of access, messages and store that a request can
// meet; nil for those that only a configuration can meet.
var sentinelErrors = map[string]error{
	"access.ErrBadCredentials":  access.ErrBadCredentials,
	"access.ErrKey":             nil,
	"access.ErrNoCredentials":   access.ErrNoCredentials,
	"access.ErrNoSecret":        nil,
	"access.ErrNobody":          nil,
	"access.ErrShared":          nil,
	"access.ErrToken":           access.ErrToken,
	"access.ErrTokenExpired":    access.ErrTokenExpired,
	"access.ErrTooManyFailures": access.ErrTooManyFailures,
	"messages.ErrInvalid":       messages.ErrInvalid,
	"messages.ErrNotFound":      messages.ErrNotFound,
	"messages.ErrPermission":    nil,
	"store.ErrLimits":           nil,
	"store.ErrNotPermitted":     nil,
	"store.ErrQueueFull":        store.ErrQueueFull,
	"store.ErrSuperseded":       store.ErrSuperseded,
	"store.ErrTooManyConsumers": nil,
	"store.ErrWaiting":          store.ErrWaiting,
}

var declaredError = regexp.MustCompile(`(?m)^(?:\t|var )(Err\w+)\s+= errors\.New\(`)

// RequestErrors returns the sentinel errors of access, messages and store that a request
// can meet, by name. It reads the source under root, and fails the test if the packages
// declare other sentinel errors than this package lists.
func RequestErrors(tb testing.TB, root string) map[string]error {
	tb.Helper()
	var declared []string
	for _, folder := range []string{"internal/access", "internal/store", "messages"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		if err != nil {
			tb.Fatalf("finding the source of %s: %v", folder, err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				tb.Fatalf("reading source: %v", err)
			}
			for _, found := range declaredError.FindAllSubmatch(source, -1) {
				declared = append(declared, filepath.Base(folder)+"."+string(found[1]))
			}
		}
	}
	slices.Sort(declared)
	if listed := slices.Sorted(maps.Keys(sentinelErrors)); !slices.Equal(declared, listed) {
		tb.Errorf("sentinel errors: got %q, want those that package roomlinktest lists, %q", declared, listed)
	}
	met := maps.Clone(sentinelErrors)
	maps.DeleteFunc(met, func(_ string, sentinel error) bool { return sentinel == nil })
	return met
}
