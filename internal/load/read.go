package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrNotAResult is the error of a document that is not the JSON of a [Result].
var ErrNotAResult = errors.New(`it is not the output of "roomlink load --json"`)

// maxResult bounds the JSON of a result, in bytes. A day's series has some 20 MB.
const maxResult = 128 << 20

// Read reads the JSON of a [Result] and ignores fields that it does not know. It returns [ErrNotAResult] for
// anything else, and for more than one document.
func Read(from io.Reader) (Result, error) {
	content, err := io.ReadAll(io.LimitReader(from, maxResult+1))
	switch {
	case err != nil:
		return Result{}, fmt.Errorf("reading a result: %w", err)
	case len(content) > maxResult:
		return Result{}, fmt.Errorf("%w: it is larger than %d MiB", ErrNotAResult, maxResult>>20)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(content, &fields); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrNotAResult, err)
	}
	for _, name := range []string{"startedAt", "duration", "requests", "answer", "links", "reconciliation"} {
		if _, ok := fields[name]; !ok {
			return Result{}, fmt.Errorf("%w: it has no %q", ErrNotAResult, name)
		}
	}
	var r Result
	if err := json.Unmarshal(content, &r); err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrNotAResult, err)
	}
	return r, nil
}
