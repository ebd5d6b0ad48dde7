package web

import (
	"errors"
	"net/url"
)

// ParseHTTPURL parses an absolute http or https URL that has a host and no user. Its error
// begins with a verb, for a caller that puts the name of the URL before it, and does not
// quote the URL.
func ParseHTTPURL(text string) (*url.URL, error) {
	parsed, err := url.Parse(text)
	switch {
	case err != nil, parsed.Hostname() == "", parsed.Scheme != "https" && parsed.Scheme != "http":
		return nil, errors.New("is not an absolute http or https URL")
	case parsed.User != nil:
		return nil, errors.New("has a user in it")
	}
	return parsed, nil
}
