package auvious

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"roomlink/messages"
)

// judge returns the room of an answer to a request, or a [*CallError] that says what the answer means.
func (c *Client) judge(a answer, request []byte) (Room, error) {
	switch {
	case a.status == http.StatusOK, a.status == http.StatusCreated:
		return c.readRoom(a)
	case a.refusesToken(request):
		return Room{}, a.failure(ErrAccount, causeInvalidToken, "")
	case a.status/100 == 2:
		return Room{}, a.failure(ErrBadAnswer, causeUnexpectedStatus, "")
	}
	switch cause := a.statusCause(); cause {
	case causeRejected:
		return Room{}, a.failure(ErrRejected, cause, a.errorText())
	case causeBadGateway:
		return Room{}, a.failure(ErrBadGateway, cause, "")
	case causeGatewayTimeout:
		return Room{}, a.failure(ErrUnknownOutcome, cause, "")
	default:
		return Room{}, a.failure(ErrNotDone, cause, "")
	}
}

// errorText returns the masked description from auvious' error body, a flat object with "error".
func (a answer) errorText() string {
	said, _ := a.said()
	description, _ := textOf(a.members.ErrorDescription)
	return "error: " + Mask(strings.TrimSpace(said+" "+description))
}

// readRoom checks the links of an answer strictly: a wrong link is worse than none. Its errors never quote a link.
func (c *Client) readRoom(a answer) (Room, error) {
	switch a.shape {
	case "":
	case causeCutOff:
		return Room{}, a.failure(ErrUnknownOutcome, a.shape, "")
	default:
		return Room{}, a.failure(ErrBadAnswer, a.shape, "")
	}
	agent, agentErr := c.readLink("agentUrl", a.members.AgentURL)
	ticket, ticketErr := c.readLink("ticketUrl", a.members.TicketURL)
	recording, recordingErr := "", error(nil)
	if value := a.members.RecordingURL; !absent(value) && string(value) != `""` { // there may be no recording
		recording, recordingErr = c.readLink("recordingUrl", value)
	}
	for _, err := range []error{agentErr, recordingErr, ticketErr} {
		if err != nil {
			return Room{}, a.failure(ErrBadAnswer, causeBadLinks, err.Error())
		}
	}
	return Room{AgentURL: agent, RecordingURL: recording, TicketURL: messages.Secret(ticket)}, nil
}

// readLink returns the usable URL of a member of an answer.
func (c *Client) readLink(name string, value jsontext.Value) (string, error) {
	if absent(value) {
		return "", fmt.Errorf("%s is missing", name)
	}
	link, ok := textOf(value)
	if !ok {
		return "", fmt.Errorf("%s is not a text", name)
	}
	if err := c.checkLink(link); err != nil {
		return "", fmt.Errorf("%s %w", name, err)
	}
	return link, nil
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
