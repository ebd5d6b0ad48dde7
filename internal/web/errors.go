package web

import (
	"errors"
	"net/http"
	"time"

	"roomlink/internal/access"
)

// ErrorRow is the answer to one error.
type ErrorRow struct {
	// Err is compared by [errors.Is].
	Err error
	// An Answer without a description gets the text of the error.
	Answer *Error
}

// ErrorTable maps errors to answers.
type ErrorTable struct {
	Rows []ErrorRow
	// Default answers an error that no row has.
	Default *Error
}

// Answer returns the answer to an error: the [*Error] that it wraps, else the answer of
// the first row that has it, else the default.
func (t ErrorTable) Answer(err error) *Error {
	if answer, ok := errors.AsType[*Error](err); ok {
		return answer
	}
	for _, row := range t.Rows {
		if !errors.Is(err, row.Err) {
			continue
		}
		if row.Answer.Description != "" {
			return row.Answer
		}
		described := *row.Answer
		described.Description = err.Error()
		return &described
	}
	return t.Default
}

// AccessRows returns the rows for the errors of package access that a request can meet.
func AccessRows() []ErrorRow {
	return []ErrorRow{
		{access.ErrNoCredentials, Unauthorized("")},
		{access.ErrBadCredentials, Unauthorized("")},
		{access.ErrTooManyFailures, TooMany("", time.Second)},
		{access.ErrToken, &Error{Status: http.StatusNotFound, Code: "bad_token"}},
		{access.ErrTokenExpired, &Error{Status: http.StatusGone, Code: "bad_token"}},
	}
}
