package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrNotAResult is the error of a document that is not the JSON of a [Result].
var ErrNotAResult = errors.New(`it is not the output of "roomlink load --json"`)

// Read reads the JSON of a [Result] and ignores fields that it does not know. It returns [ErrNotAResult] for
// anything else, and for more than one document.
func Read(from io.Reader) (r Result, err error) {
	content, err := io.ReadAll(from)
	if err != nil {
		return r, fmt.Errorf("reading a result: %w", err)
	}
	if err := json.Unmarshal(content, &r); err != nil {
		return r, fmt.Errorf("%w: %w", ErrNotAResult, err)
	}
	if r.StartedAt.IsZero() {
		return r, fmt.Errorf(`%w: it has no "startedAt"`, ErrNotAResult)
	}
	return r, nil
}
