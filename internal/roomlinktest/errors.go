package roomlinktest

import (
	"os"
	"path/filepath"
	"regexp"
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
	"store.ErrQueueFull":        store.ErrQueueFull,
	"store.ErrSuperseded":       store.ErrSuperseded,
	"store.ErrWaiting":          store.ErrWaiting,
}

var declaredError = regexp.MustCompile(`(?m)^(?:\t|var )(Err\w+)\s+= errors\.New\(`)

// RequestErrors returns the sentinel errors of access, messages and store that a request
// can meet, by name. It reads the source under root, and fails the test if a package
// declares a sentinel error that this package does not list.
func RequestErrors(tb testing.TB, root string) map[string]error {
	tb.Helper()
	met := map[string]error{}
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
				name := filepath.Base(folder) + "." + string(found[1])
				sentinel, listed := sentinelErrors[name]
				if !listed {
					tb.Errorf("%s: got a new error, want it in the list of package roomlinktest", name)
				}
				if sentinel != nil {
					met[name] = sentinel
				}
			}
		}
	}
	if len(met) == 0 {
		tb.Errorf("sentinel errors under %q: got none, want some", root)
	}
	return met
}
