package auvious

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"roomlink/messages"
)

// judge says what an answer means.
func (c *Client) judge(response *http.Response, answer []byte, readErr error) (Room, error) {
	status := response.StatusCode
	done := status == http.StatusOK || status == http.StatusCreated
	if done && readErr == nil {
		room, err := c.readRoom(answer)
		if err == nil {
			return room, nil
		}
		return Room{}, &CallError{Kind: ErrBadAnswer, Status: status, Detail: err.Error()}
	}
	failed := &CallError{Status: status, RetryAfter: retryAfter(response.Header, time.Now())}
	switch {
	case done:
		failed.Kind, failed.Detail = ErrUnknownOutcome, "the answer was cut off"
	case status == http.StatusUnauthorized:
		failed.Kind, failed.Detail = ErrAccount, "auvious does not take its own token"
	case status/100 == 2:
		failed.Kind, failed.Detail = ErrBadAnswer, "the answer is neither 200 nor 201"
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly,
		status == http.StatusTooManyRequests, status/100 == 5:
		failed.Kind, failed.Detail = ErrNotDone, "auvious is not able to"
	case status/100 == 3:
		failed.Kind, failed.Detail = ErrNotDone, "auvious points elsewhere: check its URL"
	default:
		failed.Kind, failed.Detail = ErrRejected, errorText(answer)
	}
	return Room{}, failed
}

// tolerant reads what auvious answers in any case of its names, which no
// description of its fixes.
var tolerant = []json.Options{
	json.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true),
}

// readRoom reads an answer strictly: a wrong link is worse than none. Its errors
// never quote a link.
func (c *Client) readRoom(answer []byte) (Room, error) {
	if len(answer) > maxAnswer {
		return Room{}, fmt.Errorf("the answer has more than %d KiB", maxAnswer>>10)
	}
	var fields struct {
		AgentURL     *string `json:"agentUrl"`
		RecordingURL *string `json:"recordingUrl"`
		TicketURL    *string `json:"ticketUrl"`
	}
	if err := json.Unmarshal(answer, &fields, tolerant...); err != nil {
		return Room{}, errors.New("the answer is not the JSON object that is expected")
	}
	for _, field := range []struct {
		name     string
		value    *string
		optional bool
	}{
		{"agentUrl", fields.AgentURL, false},
		{"recordingUrl", fields.RecordingURL, true},
		{"ticketUrl", fields.TicketURL, false},
	} {
		switch {
		case field.value == nil:
			return Room{}, fmt.Errorf("%s is missing", field.name)
		case *field.value == "" && field.optional:
			continue
		}
		if err := checkURL(*field.value, c.allow); err != nil {
			return Room{}, fmt.Errorf("%s %w", field.name, err)
		}
	}
	return Room{
		AgentURL:     *fields.AgentURL,
		RecordingURL: *fields.RecordingURL,
		TicketURL:    messages.Secret(*fields.TicketURL),
	}, nil
}

// checkURL wants an absolute URL that is https, or http where that is allowed.
// Its errors say what is wrong, and do not quote it.
func checkURL(text string, allowHTTP []string) error {
	if len(text) > maxURL {
		return fmt.Errorf("has more than %d bytes", maxURL)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return errors.New("has a character that no URL has")
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Opaque != "" || parsed.Hostname() == "" {
		return errors.New("is not an absolute URL")
	}
	if parsed.User != nil {
		return errors.New("has a user in it")
	}
	switch parsed.Scheme {
	case "https":
		return nil
	case "http":
		host := parsed.Hostname()
		ip := net.ParseIP(host)
		if host == "localhost" || ip != nil && ip.IsLoopback() || slices.Contains(allowHTTP, host) {
			return nil
		}
		return errors.New("is http: only https is taken (see ROOMLINK_ALLOW_HTTP_HOSTS)")
	}
	return errors.New("is neither https nor http")
}

// errorText takes the description out of auvious' error body (a flat object with
// "error"), bounded and without what looks like a URL or a token.
func errorText(answer []byte) string {
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(answer, &body, tolerant...) != nil || body.Error == "" {
		return "auvious said no"
	}
	return Mask(strings.TrimSpace(body.Error + " " + body.Description))
}

// transportError tells a call that was not done from one whose outcome is not
// known.
func transportError(err error, sent bool) error {
	failed := &CallError{Kind: ErrNotDone, Detail: "auvious cannot be reached" + reasonOf(err)}
	if sent {
		failed.Kind, failed.Detail = ErrUnknownOutcome, "the call was sent and not answered"+reasonOf(err)
	}
	return failed
}

// reasonOf names the cause of a failed request without its address.
func reasonOf(err error) string {
	var timeout net.Error
	var lookup *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ": connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ": connection lost"
	case errors.As(err, &lookup):
		return ": its name is not found"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ": timed out"
	case strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "x509: "):
		return ": TLS failed"
	}
	return ""
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110, section
// 10.2.3); 0 if there is none that can be read.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
