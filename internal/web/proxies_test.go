package web_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"roomlink/internal/web"
)

func TestProxies(t *testing.T) {
	proxies, err := web.ParseProxies([]string{"10.0.0.0/8", "192.0.2.1", "2001:db8::/32"})
	if err != nil {
		t.Fatalf("parsing: %v", err)
	}
	for _, test := range []struct {
		name, from, proto string
		forwarded         []string
		want, scheme      string
	}{
		{name: "no proxy", from: "203.0.113.7:1234", forwarded: []string{"198.51.100.1"}, proto: "https", want: "203.0.113.7:1234"},
		{name: "a proxy", from: "10.1.2.3:1", forwarded: []string{"198.51.100.1"}, proto: "https", want: "198.51.100.1", scheme: "https"},
		{name: "an invented hop", from: "10.1.2.3:1", forwarded: []string{"127.0.0.1, 198.51.100.1"}, want: "198.51.100.1"},
		{name: "two proxies", from: "10.1.2.3:1", forwarded: []string{"198.51.100.1", "192.0.2.1"}, want: "198.51.100.1"},
		{name: "proxies alone", from: "10.1.2.3:1", forwarded: []string{"10.9.9.9, 10.8.8.8"}, want: "10.9.9.9"},
		{name: "with a port", from: "10.1.2.3:1", forwarded: []string{"198.51.100.1:4444"}, want: "198.51.100.1"},
		{name: "IPv6", from: "[2001:db8::1]:1", forwarded: []string{"2001:0DB9::7"}, want: "2001:db9::7"},
		{name: "mapped", from: "[::ffff:10.1.2.3]:1", forwarded: []string{"::ffff:198.51.100.1"}, want: "198.51.100.1"},
		{name: "no header", from: "10.1.2.3:1", want: "10.1.2.3:1"},
		{name: "no address", from: "10.1.2.3:1", forwarded: []string{"unknown"}, want: "10.1.2.3:1"},
		{name: "another scheme", from: "10.1.2.3:1", forwarded: []string{"198.51.100.1"}, proto: "javascript", want: "198.51.100.1"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr, r.URL.Scheme = test.from, ""
		r.Header["X-Forwarded-For"] = test.forwarded
		r.Header.Set("X-Forwarded-Proto", test.proto)
		proxies.Resolve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.RemoteAddr != test.want || r.URL.Scheme != test.scheme {
				t.Errorf("%s: got %q and scheme %q, want %q and %q", test.name, r.RemoteAddr, r.URL.Scheme, test.want, test.scheme)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
	for _, wrong := range []string{"", "proxy.example.com", "10.0.0.0/99"} {
		if _, err := web.ParseProxies([]string{wrong}); err == nil {
			t.Errorf("ParseProxies(%q): got no error, want one", wrong)
		}
	}
}
