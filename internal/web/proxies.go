package web

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the networks of proxies whose word on the caller counts.
type Proxies []netip.Prefix

// ParseProxies reads networks such as 10.0.0.0/8, and single addresses. Its error names the text that is neither.
func ParseProxies(texts []string) (Proxies, error) {
	var proxies Proxies
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if address, addressErr := netip.ParseAddr(text); addressErr == nil {
			network, err = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%q is neither an IP address nor a network such as 10.0.0.0/8", text)
		}
		proxies = append(proxies, network.Masked())
	}
	return proxies, nil
}

// Resolve is a middleware that sets the RemoteAddr of a request that comes from a proxy to the caller's address. It is
// the last address of X-Forwarded-For that is no proxy: what is before it anybody could have written. The scheme of the
// request's URL becomes that of X-Forwarded-Proto.
func (p Proxies) Resolve(next http.Handler) http.Handler {
	if len(p) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !p.has(from.Addr()) {
			next.ServeHTTP(w, r)
			return
		}
		if caller := p.caller(r.Header.Values("X-Forwarded-For")); caller != "" {
			r.RemoteAddr = caller
		}
		if proto := r.Header.Get("X-Forwarded-Proto"); proto == "http" || proto == "https" {
			r.URL.Scheme = proto
		}
		next.ServeHTTP(w, r)
	})
}

// caller returns the last address that is no proxy, or the first one if all are; "" if an address is none.
func (p Proxies) caller(headers []string) string {
	caller := ""
	for _, hop := range slices.Backward(strings.Split(strings.Join(headers, ","), ",")) {
		address, err := parseHop(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		if caller = address.String(); !p.has(address) {
			break
		}
	}
	return caller
}

// parseHop reads an address of X-Forwarded-For. Some proxies add the port.
func parseHop(text string) (netip.Addr, error) {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap(), nil
	}
	address, err := netip.ParseAddr(text)
	return address.Unmap().WithZone(""), err
}

func (p Proxies) has(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	for _, network := range p {
		if network.Contains(address) {
			return true
		}
	}
	return false
}
