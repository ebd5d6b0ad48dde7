package accounts

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// Links restricts the links of an account. Webhook and worker both need it.
type Links struct {
	LinkHosts LinkHosts `yaml:"linkHosts" env:"ROOMLINK_LINK_HOSTS" group:"account" help:"Hosts that links may be on: names, or *.example.com for every host below it. By default, links may be on any host, and an unexpected one is counted and logged once."`
}

// LinkHosts are hosts of links: exact names, or "*.example.com" for every host below
// example.com. Ports do not count.
type LinkHosts []string

// Check returns an error for an entry that is no host.
func (h LinkHosts) Check() error {
	for _, entry := range h {
		if _, err := asciiHost(strings.TrimPrefix(entry, "*.")); err != nil {
			return fmt.Errorf("ROOMLINK_LINK_HOSTS (linkHosts): %q is neither a host such as auvious.video nor *.example.com", entry)
		}
	}
	return nil
}

// Has reports whether a host is among the hosts.
func (h LinkHosts) Has(host string) bool {
	host, err := asciiHost(host)
	return err == nil && slices.ContainsFunc(h, func(entry string) bool {
		below, wildcard := strings.CutPrefix(entry, "*.")
		entry, err := asciiHost(below)
		return err == nil && (!wildcard && host == entry || wildcard && strings.HasSuffix(host, "."+entry))
	})
}

// ExpectedHosts returns the hosts that the account's links are expected on if LinkHosts does
// not restrict them: auvious' own host, and those of the account's URLs.
func (a Auvious) ExpectedHosts() LinkHosts {
	hosts := LinkHosts{"auvious.video"}
	for _, text := range []string{a.URL, a.URLBase} {
		if base, err := ParseURLBase(text); err == nil {
			hosts = append(hosts, base.Hostname())
		}
	}
	return hosts
}

// errNoURLBase follows the name of the URL in a caller's error.
var errNoURLBase = errors.New("is neither a host such as auvious.video nor an absolute http or https URL")

// ParseURLBase parses the beginning of links: an absolute http or https URL without a query,
// or a host, which gets https (auvious' own example is "auvious.video"). The host of the
// result is in lower case and has no characters beyond ASCII (RFC 5891). An error begins with
// a verb and does not quote the text.
func ParseURLBase(text string) (*url.URL, error) {
	text = strings.TrimSpace(text)
	if !strings.Contains(text, "://") {
		// A word without a dot is a slip, such as the beginning of "https//auvious.video".
		if host, _, _ := strings.Cut(text, "/"); host != "localhost" && !strings.ContainsAny(host, ".:") {
			return nil, errNoURLBase
		}
		text = "https://" + text
	}
	base, err := url.Parse(text)
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || strings.HasSuffix(base.Host, ":") ||
		base.RawQuery != "" || base.Fragment != "" {
		return nil, errNoURLBase
	}
	if base.User != nil {
		return nil, errors.New("has a user in it")
	}
	host, err := asciiHost(base.Hostname())
	if err != nil || host == "http" || host == "https" {
		return nil, errNoURLBase
	}
	base.Host = strings.Replace(base.Host, base.Hostname(), host, 1)
	return base, nil
}

// asciiHost returns an IP address or the name of a host in lower case, in Punycode if it has
// characters beyond ASCII.
func asciiHost(host string) (string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return strings.ToLower(host), nil
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil { // it also refuses the underscores of container names
		ascii = strings.ToLower(host)
	}
	ascii = strings.TrimSuffix(ascii, ".")
	invalid := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}
	if ascii == "" || strings.HasPrefix(ascii, ".") || strings.Contains(ascii, "..") || strings.ContainsFunc(ascii, invalid) {
		return "", errors.New("invalid host")
	}
	return ascii, nil
}
