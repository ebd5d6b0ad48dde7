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

// judge returns the room of an answer, or what the answer means.
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
		failed.Kind, failed.Detail = ErrAccount, "auvious refused its own token"
	case status/100 == 2:
		failed.Kind, failed.Detail = ErrBadAnswer, "the status is neither 200 nor 201"
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly,
		status == http.StatusTooManyRequests, status/100 == 5:
		failed.Kind, failed.Detail = ErrNotDone, "temporary failure"
	case status/100 == 3:
		failed.Kind, failed.Detail = ErrNotDone, "auvious redirected the call: check its URL"
	default:
		failed.Kind, failed.Detail = ErrRejected, errorText(answer)
	}
	return Room{}, failed
}

// tolerant accepts names in any case, because no description of auvious fixes it.
var tolerant = []json.Options{
	json.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true),
}

// readRoom decodes and checks an answer strictly: a wrong link is worse than none. Its errors never quote a link.
func (c *Client) readRoom(answer []byte) (Room, error) {
	if len(answer) > maxAnswer {
		return Room{}, fmt.Errorf("the answer is longer than %d KiB", maxAnswer>>10)
	}
	var fields struct {
		AgentURL     *string `json:"agentUrl"`
		RecordingURL *string `json:"recordingUrl"`
		TicketURL    *string `json:"ticketUrl"`
	}
	if err := json.Unmarshal(answer, &fields, tolerant...); err != nil {
		return Room{}, errors.New("the answer is not the expected JSON object")
	}
	for _, field := range []struct {
		name string
		url  *string
	}{
		{"agentUrl", fields.AgentURL}, {"recordingUrl", fields.RecordingURL}, {"ticketUrl", fields.TicketURL},
	} {
		if field.url == nil {
			return Room{}, fmt.Errorf("%s is missing", field.name)
		}
		if field.url == fields.RecordingURL && *field.url == "" {
			continue // there is no recording
		}
		if err := c.checkLink(*field.url); err != nil {
			return Room{}, fmt.Errorf("%s %w", field.name, err)
		}
	}
	return Room{
		AgentURL:     *fields.AgentURL,
		RecordingURL: *fields.RecordingURL,
		TicketURL:    messages.Secret(*fields.TicketURL),
	}, nil
}

// checkLink returns an error unless a link is usable and on one of the link hosts. It names the host, and never quotes
// the link.
func (c *Client) checkLink(text string) error {
	if err := checkURL(text, c.allowHTTP); err != nil || len(c.linkHosts) == 0 {
		return err
	}
	if host := Host(text); !c.linkHosts.Has(host) {
		return fmt.Errorf("is on the host %.100q, which is not one of the link hosts (see ROOMLINK_LINK_HOSTS)", host)
	}
	return nil
}

// Host returns the host of a link in lower case and without its port; "" if it has none.
func Host(link string) string {
	parsed, err := url.Parse(link)
	if err != nil {
		return ""
	}
	return strings.ToLower(parsed.Hostname())
}

// checkURL returns an error unless text is an absolute https URL, or an http URL of loopback or of a host in
// allowHTTP. The error never quotes the URL.
func checkURL(text string, allowHTTP []string) error {
	if len(text) > maxURL {
		return fmt.Errorf("is longer than %d bytes", maxURL)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return errors.New("contains an invalid character")
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Opaque != "" || parsed.Hostname() == "" {
		return errors.New("is not an absolute URL")
	}
	if parsed.User != nil {
		return errors.New("contains a user")
	}
	host := parsed.Hostname()
	switch {
	case parsed.Scheme == "https":
		return nil
	case parsed.Scheme != "http":
		return errors.New("is neither https nor http")
	case host == "localhost", net.ParseIP(host).IsLoopback(), slices.Contains(allowHTTP, host):
		return nil
	}
	return errors.New("is http, but only https is allowed (see ROOMLINK_ALLOW_HTTP_HOSTS)")
}

// errorText returns the masked description from auvious' error body, a flat object with "error".
func errorText(answer []byte) string {
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(answer, &body, tolerant...) != nil || body.Error == "" {
		return "no reason given"
	}
	return Mask(strings.TrimSpace(body.Error + " " + body.Description))
}

// transportError describes a call without an answer. A call that was sent may have made a room.
func transportError(err error, sent bool) error {
	if sent {
		return &CallError{Kind: ErrUnknownOutcome, Detail: "the call was sent but not answered" + reasonOf(err)}
	}
	return &CallError{Kind: ErrNotDone, Detail: "auvious cannot be reached" + reasonOf(err)}
}

// reasonOf names the cause of a failed request. The error itself may quote an address.
func reasonOf(err error) string {
	var timeout net.Error
	var lookup *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ": connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ": connection lost"
	case errors.As(err, &lookup):
		return ": host name not found"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ": timed out"
	case strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "x509: "):
		return ": TLS failed"
	}
	return ""
}

// retryAfter decodes the Retry-After header: seconds or a date (RFC 9110, section 10.2.3). It returns 0 if the header
// is absent or unreadable.
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
