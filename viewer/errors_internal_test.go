package viewer

import (
	"errors"
	"slices"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/web"
)

func TestEveryErrorHasAnAnswer(t *testing.T) {
	for name, err := range roomlinktest.RequestErrors(t, "..") {
		if !slices.ContainsFunc(answers.Rows, func(row web.ErrorRow) bool { return errors.Is(err, row.Err) }) {
			t.Errorf("%s: got no row in the table of errors, want one", name)
		}
	}
}
