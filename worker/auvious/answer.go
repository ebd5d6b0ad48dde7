package auvious

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxAnswer bounds an answer, in bytes. An answer is three URLs.
	maxAnswer = 64 << 10
	// maxRetryAfter bounds the delay that an answer may ask for.
	maxRetryAfter = time.Minute
)

// answer is an HTTP answer of auvious, or of somebody in between: a proxy, an ingress or a firewall.
type answer struct {
	endpoint Endpoint
	status   int
	header   http.Header
	// body has neither gzip nor a byte order mark. It is longer than maxAnswer if the whole answer is.
	body    []byte
	members members
	// shape says why there are no members; "" if the body is a JSON object.
	shape Cause
}

// members are the members of all answers that the client reads.
type members struct {
	Error            jsontext.Value `json:"error"`
	ErrorDescription jsontext.Value `json:"error_description"`

	AgentURL     jsontext.Value `json:"agentUrl"`
	RecordingURL jsontext.Value `json:"recordingUrl"`
	TicketURL    jsontext.Value `json:"ticketUrl"`

	AccessToken jsontext.Value `json:"access_token"`
	TokenType   jsontext.Value `json:"token_type"`
	ExpiresIn   jsontext.Value `json:"expires_in"`
}

// readAnswer reads and closes the body of a response. It ignores the content type, and it detects gzip by the body,
// because proxies change the headers.
func readAnswer(endpoint Endpoint, response *http.Response) answer {
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if bytes.HasPrefix(body, []byte("\x1f\x8b")) && len(body) <= maxAnswer {
		body, err = gunzip(body)
	}
	a := answer{
		endpoint: endpoint, status: response.StatusCode, header: response.Header,
		body: bytes.TrimPrefix(body, []byte("\ufeff")),
	}
	a.members, a.shape = decode(a.body, err)
	return a
}

// gunzip returns at most maxAnswer+1 decompressed bytes.
func gunzip(body []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return body, err
	}
	return io.ReadAll(io.LimitReader(reader, maxAnswer+1))
}

// tolerant accepts names in any case, because no description of auvious fixes it.
var tolerant = json.JoinOptions(
	json.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true),
)

// decode returns the members of a body, or why there are none. A whole object counts even if the body ended with an
// error.
func decode(body []byte, readErr error) (members, Cause) {
	var found members
	text := bytes.TrimSpace(body)
	switch {
	case len(body) > maxAnswer:
		return members{}, causeTooLong
	case bytes.HasPrefix(text, []byte("{")) && json.Unmarshal(text, &found, tolerant) == nil:
		return found, ""
	case readErr != nil:
		return members{}, causeCutOff
	case len(text) == 0:
		return members{}, causeEmpty
	case jsontext.Value(text).IsValid(tolerant):
		return members{}, causeNotObject
	}
	return members{}, causeNotJSON
}

// textOf returns the text of a JSON string, and false for any other value.
func textOf(value jsontext.Value) (string, bool) {
	if value.Kind() != '"' {
		return "", false
	}
	text, _ := jsontext.AppendUnquote(nil, value) // an error only reports replaced bytes
	return string(text), true
}

// absent reports whether a member is absent or null.
func absent(value jsontext.Value) bool { return len(value) == 0 || value.Kind() == 'n' }

// said returns the error text of the answer. Only auvious itself answers with a JSON object that has one (auvious,
// sibling API).
func (a answer) said() (text string, ok bool) {
	text, _ = textOf(a.members.Error)
	text = strings.TrimSpace(text)
	return text, text != ""
}

// statusCause returns what the status of a failed call says, if it is not 2xx.
func (a answer) statusCause() Cause {
	switch a.status {
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return causeUnavailable
	case http.StatusTooManyRequests:
		return causeTooManyRequests
	case http.StatusProxyAuthRequired, http.StatusMisdirectedRequest:
		return causeNotAuvious // whatever the body says
	case http.StatusBadGateway:
		return causeBadGateway
	case http.StatusGatewayTimeout, 520, 524: // 520 and 524 are Cloudflare's: the origin's answer was bad or late
		return causeGatewayTimeout
	}
	_, said := a.said()
	switch {
	case a.status/100 == 3:
		return causeRedirect
	case a.status/100 == 4 && said:
		return causeRejected
	case a.status/100 == 4:
		return causeNotAuvious
	}
	return causeUnavailable
}

// invalidToken is the error code of RFC 6750, section 3.1.
var invalidToken = regexp.MustCompile(`(?i)\binvalid_token\b`)

// refusesToken reports whether the answer refuses the access token. If the request contains the code,
// the body may only repeat the request, so it does not count.
func (a answer) refusesToken(request []byte) bool {
	switch {
	case a.status == http.StatusUnauthorized:
		return true
	case a.status/100 != 4:
		return false
	}
	return slices.ContainsFunc(a.header.Values("WWW-Authenticate"), invalidToken.MatchString) ||
		invalidToken.Match(a.body) && !invalidToken.Match(request)
}

// failure returns the error of the answer. text says what is wrong; if it is "", the text of the cause says it, or else
// the form of the body. The error quotes only the status of the answer, and what text quotes.
func (a answer) failure(kind Kind, cause Cause, text string) *CallError {
	return &CallError{
		Kind: kind, Endpoint: a.endpoint, Cause: cause, Status: a.status,
		RetryAfter: retryAfter(a.header, time.Now()),
		Detail: fmt.Sprintf("%s endpoint: %d %s, %s", a.endpoint, a.status, a.mediaType(),
			cmp.Or(text, causeTexts[cause], causeTexts[a.shape], a.objectText())),
	}
}

// objectText says what kind of JSON object the body is.
func (a answer) objectText() string {
	if _, said := a.said(); said {
		return "JSON with an error"
	}
	return "JSON without an error"
}

// mediaTypes are the content types that a text about an answer names.
var mediaTypes = []string{
	"application/json", "application/problem+json", "text/json", "text/html", "text/plain", "text/xml",
	"application/xml", "application/octet-stream",
}

// mediaType names the content type of the answer. It never quotes the header.
func (a answer) mediaType() string {
	name, _, _ := strings.Cut(strings.ToLower(a.header.Get("Content-Type")), ";")
	switch name = strings.TrimSpace(name); {
	case slices.Contains(mediaTypes, name):
		return name
	case name == "":
		return "without a content type"
	}
	return "with another content type"
}

// retryAfter decodes the Retry-After header (RFC 9110, section 10.2.3). It returns from 0 to maxRetryAfter; 0 if the
// header is absent or unreadable. If a proxy added a second value, the longer delay counts.
func retryAfter(header http.Header, now time.Time) time.Duration {
	delay := time.Duration(0)
	for _, value := range header.Values("Retry-After") {
		if at, ok := readDate(value); ok {
			// By the clock of the server, if it tells its time.
			if date, err := http.ParseTime(header.Get("Date")); err == nil {
				now = date
			}
			delay = max(delay, at.Sub(now))
			continue
		}
		for text := range strings.SplitSeq(value, ",") {
			if seconds, _ := strconv.ParseFloat(strings.TrimSpace(text), 64); seconds > 0 { // infinite if out of range
				delay = max(delay, time.Duration(math.Ceil(min(seconds, maxRetryAfter.Seconds())))*time.Second)
			}
		}
	}
	return min(delay, maxRetryAfter)
}

// dateLayouts are layouts of dates beside those of RFC 9110.
var dateLayouts = []string{time.RFC1123, time.RFC1123Z, time.RFC3339}

// readDate decodes the date of a header.
func readDate(text string) (at time.Time, ok bool) {
	at, err := http.ParseTime(text)
	for _, layout := range dateLayouts {
		if err != nil {
			at, err = time.Parse(layout, text)
		}
	}
	return at, err == nil
}
