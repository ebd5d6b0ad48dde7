package viewer_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
)

// behindAddresses is what mail programs, messengers and documents add to an address.
var behindAddresses = []string{
	".", ",", ";", ":", "!", ")", ").", "]", "}", "'", "*", "**", "_", "__", "-", "/", "//", "/.", "/)", "./", "&", "=", "|",
	"%3E", "%3E%22", "%22", "%29", "%5D", "%20", "%0A", "%0D%0A", "%09", "%00", "%2F", "%5C", "%60", "%E2%80%9D", "%E2%80%A6", "%C2%A0",
	"%EF%BC%89", "%EF%BF%BD", "%FF", "&gt;", "&quot;", ".Please", "%20Thank%20you", "?", "?utm_source=mail", ")?utm_source=mail",
}

// An address with something behind it leads to its page, if it is not an address of its own.
func TestAddressesWithSomethingBehind(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"))
	pages, old := s.pagesOf("a"), s.pages.For(roomlinktest.Conversation("a"), time.Now().Add(-2*time.Hour))
	for _, behind := range behindAddresses {
		t.Run(behind, func(t *testing.T) {
			s.lead(t, pages.Card+behind).wantPage(t, http.StatusOK, "Video room ready")
			s.lead(t, pages.Customer+behind).wantPage(t, http.StatusOK, textReady)
			s.lead(t, pages.Context+behind).wantRedirect(t, http.StatusFound, agentURL)
			s.lead(t, old.Customer+behind).wantPage(t, http.StatusGone, textExpired)
			s.lead(t, s.url+"/card/made-up"+behind).wantPage(t, http.StatusNotFound, textInvalid)
		})
	}
}

// lead gets an address as a browser does: it follows redirects within the site.
func (s *site) lead(tb testing.TB, address string) reply {
	tb.Helper()
	for range 3 {
		got := s.do(tb, http.MethodGet, address)
		location := got.Header.Get("Location")
		if got.Status != http.StatusFound || strings.HasPrefix(location, "https://") {
			return got
		}
		got.wantSecure(tb)
		here, err := url.Parse(address)
		if err != nil {
			tb.Fatalf("reading an address: %v", err)
		}
		next, err := here.Parse(location)
		if err != nil {
			tb.Fatalf("reading the address of a redirect: %v", err)
		}
		address = next.String()
	}
	tb.Fatal("got three redirects, want a page")
	return reply{}
}

// Every wrong address below /open/ and /card/ is a page with its style.
func TestWrongAddressesArePages(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"))
	pages := s.pagesOf("a")
	for _, address := range []string{
		s.url + "/open", s.url + "/open/", s.url + "/open//", s.url + "/open/x", s.url + "/open/x/y", s.url + "/open/x/y/z/",
		s.url + "/card", s.url + "/card/", s.url + "/card/x/y", s.url + "/card/%20/%2F", s.url + "/card/" + strings.Repeat("x", 2000),
		pages.Card + "/x", pages.Card + "/events/", pages.Card + "/events/x", pages.Card + "/Renew", pages.Customer + "/qr.svg",
		pages.Context + "/renew", pages.Customer + "/join", pages.Card + "/../../x",
	} {
		got := s.do(t, http.MethodGet, address)
		got.wantPage(t, http.StatusNotFound, textInvalid)
		here, err := url.Parse(address)
		if err != nil {
			t.Fatalf("reading an address: %v", err)
		}
		_, rest, _ := strings.Cut(got.Body, `<link rel="stylesheet" href="`)
		style, _, _ := strings.Cut(rest, `"`)
		sheet, err := here.Parse(style)
		if err != nil || sheet.Path != "/assets/roomlink.css" {
			t.Errorf("style sheet: got %q and error %v, want that of the site", style, err)
		}
	}
	// A person who opens the address of an event or a picture sees a page too.
	for _, address := range []string{"/events", "/state", "/qr.svg"} {
		got := s.do(t, http.MethodGet, s.url+"/card/x"+address, with("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"))
		got.wantPage(t, http.StatusNotFound, textInvalid)
		s.do(t, http.MethodGet, "/card/x"+address).WantError(t, http.StatusNotFound, "bad_token")
	}
	s.do(t, http.MethodPost, pages.Card+"./renew").WantError(t, http.StatusNotFound, "bad_token")
	s.do(t, http.MethodPost, pages.Customer+".").wantPage(t, http.StatusNotFound, textInvalid)
}

// FuzzAddress checks that a redirect leads to the page itself, whatever is behind its address.
func FuzzAddress(f *testing.F) {
	s := newSite(f)
	s.links(f, roomlinktest.Conversation("a"))
	for _, behind := range behindAddresses {
		f.Add(behind)
	}
	f.Add("/./")
	f.Add("/../.")
	pages := s.pagesOf("a")
	f.Fuzz(func(t *testing.T, behind string) {
		here, err := url.Parse(pages.Card + behind)
		if err != nil {
			return // the text is no address
		}
		got := s.do(t, http.MethodGet, here.String())
		location := got.Header.Get("Location")
		if location == "" {
			return
		}
		next, err := here.Parse(location)
		if err != nil || next.String() != pages.Card {
			t.Errorf("got a redirect to %q and error %v, want the card", location, err)
		}
	})
}
