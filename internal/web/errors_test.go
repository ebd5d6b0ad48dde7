package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/web"
)

func TestErrorTable(t *testing.T) {
	full, broken := errors.New("the queue is full"), errors.New("the body is broken")
	table := web.ErrorTable{
		Rows: append(web.AccessRows(),
			web.ErrorRow{Err: full, Answer: web.Unavailable("queue_full", "try later", time.Second)},
			web.ErrorRow{Err: broken, Answer: web.BadRequest("bad_event", "")},
		),
		Default: web.Unavailable("unavailable", "try again", 0),
	}
	for _, test := range []struct {
		err               error
		status            int
		code, description string
	}{
		{full, http.StatusServiceUnavailable, "queue_full", "try later"},
		{fmt.Errorf("publishing: %w", full), http.StatusServiceUnavailable, "queue_full", "try later"},
		{broken, http.StatusBadRequest, "bad_event", "the body is broken"},
		{fmt.Errorf("%w at byte 7", broken), http.StatusBadRequest, "bad_event", "the body is broken at byte 7"},
		{fmt.Errorf("reading: %w", web.NotFound("nothing here")), http.StatusNotFound, "not_found", "nothing here"},
		{errors.New("another"), http.StatusServiceUnavailable, "unavailable", "try again"},
		{access.ErrNoCredentials, http.StatusUnauthorized, "unauthorized", access.ErrNoCredentials.Error()},
		{access.ErrTooManyFailures, http.StatusTooManyRequests, "too_many_requests", access.ErrTooManyFailures.Error()},
		{access.ErrToken, http.StatusNotFound, "bad_token", access.ErrToken.Error()},
		{access.ErrTokenExpired, http.StatusGone, "bad_token", access.ErrTokenExpired.Error()},
	} {
		got := table.Answer(test.err)
		if got.Status != test.status || got.Code != test.code || got.Description != test.description {
			t.Errorf("%v: got %+v, want %d %s %q", test.err, *got, test.status, test.code, test.description)
		}
	}
	if got := table.Answer(broken); got == table.Answer(broken) || table.Rows[len(table.Rows)-1].Answer.Description != "" {
		t.Errorf("a described answer: got %+v, want a copy of the row's", *got)
	}
}
