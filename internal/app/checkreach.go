package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"roomlink/internal/accounts"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

const (
	// maxChecks bounds the accounts whose access to auvious is checked at once.
	maxChecks = 8
	// maxClockSkew is the largest difference between two clocks that does no harm.
	maxClockSkew = 10 * time.Second
	// checkedTicket is the lifetime of the ticket of a checked room.
	checkedTicket = time.Minute
	// minCertificate is the remaining lifetime below which a certificate is worth a warning.
	minCertificate = 14 * 24 * time.Hour
	reachTimeout   = 10 * time.Second
)

// checkAuvious checks the access of each account to auvious, and the clock of auvious.
func (c *checker) checkAuvious(ctx context.Context) {
	results := make([][]Result, len(c.accounts))
	var group errgroup.Group
	group.SetLimit(maxChecks)
	for i, account := range c.accounts {
		group.Go(func() error {
			own := &checker{CheckSettings: c.CheckSettings, report: func(r Result) { results[i] = append(results[i], r) }}
			own.checkAccount(ctx, account)
			return nil
		})
	}
	_ = group.Wait() // no check returns an error
	asked := map[string]bool{}
	for i, account := range c.accounts {
		for _, result := range results[i] {
			c.report(result)
		}
		if base := account.Auvious.URL; !asked[base] {
			asked[base] = true
			c.checkAuviousClock(ctx, base)
		}
	}
}

// checkAccount gets a token of auvious for an account, and makes a room if that is wanted.
func (c *checker) checkAccount(ctx context.Context, account accounts.Account) {
	client, err := newFacade(account)
	if err != nil {
		c.fail("auvious", "", fmt.Errorf("account %q: %w", account.Name, err))
		return
	}
	defer client.Close()
	began := time.Now()
	if err := client.CheckToken(ctx); err != nil {
		c.fail("auvious", auviousRemedy(err), fmt.Errorf("account %q: %w", account.Name, err))
		return
	}
	c.okf("auvious", "account %q: %s issued an access token in %d ms",
		account.Name, auvious.Host(account.Auvious.URL), time.Since(began).Milliseconds())
	if !c.Room {
		return
	}
	id, seconds := "check-"+rand.Text(), int64(checkedTicket/time.Second)
	request := worker.Request(account.Auvious, messages.Started{Request: messages.Request{
		Conversation: messages.Conversation{Account: account.Name, InteractionID: id}, CustomerID: id,
		RoomOptions: messages.RoomOptions{TicketExpirationSeconds: &seconds},
	}})
	began = time.Now()
	if _, err := client.CreateRoom(ctx, request); err != nil {
		c.fail("room", auviousRemedy(err), fmt.Errorf("account %q: %w", account.Name, err))
		return
	}
	c.okf("room", "account %q: auvious made a room for interaction %q in %d ms", account.Name, id, time.Since(began).Milliseconds())
}

// auviousRemedy returns what to do about a failed call of auvious.
func auviousRemedy(err error) string {
	failed, ok := errors.AsType[*auvious.CallError](err)
	switch {
	case !ok:
		return ""
	case failed.Kind == auvious.ErrRejected:
		return "check the application id, the organization id and the destination of the account"
	case failed.Endpoint == auvious.RoomEndpoint:
		return "try again, and ask auvious if it stays"
	case failed.Status == 0:
		return "check the URL of auvious (ROOMLINK_AUVIOUS_URL), and that this machine reaches it (DNS, proxy, firewall)"
	case failed.Status == http.StatusUnauthorized || failed.Status == http.StatusBadRequest || failed.Status == http.StatusForbidden:
		return "check the client id and the client secret (ROOMLINK_AUVIOUS_CLIENT_ID and its secret, or clientId and clientSecretFile)"
	}
	return "check the URL of auvious (ROOMLINK_AUVIOUS_URL), and try again"
}

// checkAuviousClock compares the clocks of auvious and of this machine.
func (c *checker) checkAuviousClock(ctx context.Context, base string) {
	asked := time.Now()
	_, header, err := reach(ctx, base)
	if err != nil {
		return // the check of the account says so
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		c.reportClock(auvious.Host(base), asked, date, time.Second)
	}
}

// reportClock reports the difference between this machine's clock and another one, which showed at some time after
// asked. The other clock shows steps of precision.
func (c *checker) reportClock(whose string, asked, at time.Time, precision time.Duration) {
	answered := time.Now()
	skew := max(asked.Sub(at)-precision, at.Sub(answered), 0)
	if skew > maxClockSkew {
		c.warnf("clock", "set the clock of this machine, best by NTP",
			"the clocks of %s and of this machine differ by %v", whose, skew.Round(time.Second))
		return
	}
	c.okf("clock", "%s and this machine agree on the time", whose)
}

// reach sends a GET request and returns the status and the headers of the answer. It follows no redirect.
func reach(ctx context.Context, address string) (status int, header http.Header, err error) {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, err
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return 0, nil, failed.Err // without the address, which may have a password
	}
	if err != nil {
		return 0, nil, err
	}
	_ = response.Body.Close() // it was not read
	return response.StatusCode, response.Header, nil
}

// checkCertificate checks the certificate of the public HTTP, if there is one.
func (c *checker) checkCertificate() {
	if c.TLSCert == "" && c.TLSKey == "" {
		return
	}
	pair, err := publicPair(c.PublicSettings).read()
	if err != nil {
		c.fail("certificate", "give the certificate and its own key, in PEM", err)
		return
	}
	leaf, now := pair.Leaf, time.Now()
	host := ""
	if parsed, err := url.Parse(c.PublicURL); err == nil {
		host = parsed.Hostname()
	}
	switch {
	case now.After(leaf.NotAfter), now.Before(leaf.NotBefore):
		c.fail("certificate", "renew it, and check the clock of this machine", fmt.Errorf("%s is valid from %s to %s",
			c.TLSCert, leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339)))
	case host != "" && leaf.VerifyHostname(host) != nil:
		c.warnf("certificate", "get one for that name, unless a proxy in front has its own",
			"%s is for %s, and not for %q of ROOMLINK_PUBLIC_URL", c.TLSCert, cmp.Or(certificateNames(leaf), "no name"), host)
	case leaf.NotAfter.Sub(now) < minCertificate:
		c.warnf("certificate", "renew it", "%s ends on %s", c.TLSCert, leaf.NotAfter.Format(time.RFC3339))
	default:
		c.okf("certificate", "%s is for %s, and ends on %s", c.TLSCert, certificateNames(leaf), leaf.NotAfter.Format(time.RFC3339))
	}
}

func certificateNames(leaf *x509.Certificate) string {
	found := leaf.DNSNames
	for _, ip := range leaf.IPAddresses {
		found = append(found, ip.String())
	}
	return strings.Join(found, ", ")
}

// checkPublicURL checks that roomlink answers at its public URL.
func (c *checker) checkPublicURL(ctx context.Context) {
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	base, err := publicURL(c.PublicSettings, scheme, c.Listen)
	if err != nil || strings.HasSuffix(base, ":0") {
		return // the settings say so, or the system chooses the port
	}
	const remedy = "if roomlink runs, check its DNS name, and the proxy and the firewall in front of it"
	status, _, err := reach(ctx, base+"/openapi.json")
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case untrusted:
		c.warnf("public", "use a certificate that Talkdesk and browsers trust", "%s: %v", base, err)
	case err != nil:
		c.warnf("public", remedy, "%s is not reachable from here: %v", base, err)
	case status != http.StatusOK:
		c.warnf("public", remedy, "%s/openapi.json is answered with status %d", base, status)
	default:
		c.okf("public", "roomlink answers at %s", base)
	}
}
