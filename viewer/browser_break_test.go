package viewer_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
)

// The card survives a crash of the program while it waits for a room, and a restart.
func TestBrowserReconnects(t *testing.T) {
	t.Parallel() // it mostly waits
	p := newProgram(t, "ROOMLINK_LISTEN="+programtest.FreeAddress(t))
	p.hold(t, "a", asUsual)
	p.start(t, "a")
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Card)
	browser.untilStatus("pending")
	browser.stay()
	p.Kill()
	browser.untilText("#lost", "Connection lost")
	p.says("a", asUsual)
	p.run(t)
	browser.untilStatus("ready")
	browser.until("document.querySelector('#lost').textContent === ''")
	p.wantRooms(t, "a", 1)

	if code := p.Stop(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
	browser.untilText("#lost", "Connection lost")
	p.run(t)
	browser.until("document.querySelector('#lost').textContent === ''")
	browser.forget() // the browser reported the stopped server
	browser.click("#renew")
	browser.click("#confirm")
	browser.untilText("#note", "The new room is ready")
	browser.stayed()
	browser.wantQuiet(p.url)
}

// proxy is a reverse proxy in front of a server. It answers 502 while the server is down.
// lead sets the server's address.
func proxy(t *testing.T) (address string, lead func(to string)) {
	t.Helper()
	var target atomic.Pointer[url.URL]
	lead = func(to string) {
		parsed, err := url.Parse(to)
		if err != nil {
			t.Fatalf("reading an address: %v", err)
		}
		target.Store(parsed)
	}
	quiet := log.New(io.Discard, "", 0) // the proxy logs each aborted answer
	server := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target.Load())
			r.Out.Host = r.In.Host
		},
		ErrorLog: quiet,
	})
	server.Config.ErrorLog = quiet
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, lead
}

// During a restart the proxy answers without a stream. An EventSource then gives up, and
// the card has to reconnect by itself.
func TestBrowserReconnectsBehindAProxy(t *testing.T) {
	t.Parallel() // it mostly waits
	address, lead := proxy(t)
	p := newProgram(t, "ROOMLINK_PUBLIC_URL="+address)
	lead(p.url)
	p.hold(t, "a", asUsual)
	p.start(t, "a")
	pages := p.pages(t, "a")
	if !strings.HasPrefix(pages.Card, address+"/") {
		t.Fatalf("card: got an address elsewhere, want it at the proxy")
	}
	browser := newTab(t, look{})
	browser.goTo(pages.Card)
	browser.untilStatus("pending")
	browser.stay()
	p.Kill()
	browser.untilMessage("502")
	p.says("a", asUsual)
	p.run(t)
	lead(p.url)
	browser.untilStatus("ready")
	browser.stayed()
	browser.forget() // the browser reported the answers of the proxy
	browser.wantQuiet(address)
}

// An open card shows that its address has expired.
func TestBrowserSeesItsAddressExpire(t *testing.T) {
	t.Parallel() // it mostly waits
	p := newProgram(t, "ROOMLINK_PAGE_LIFETIME=10s")
	p.ready(t, "a")
	browser := newTab(t, look{})
	var card string
	for shown := false; !shown; { // a slow browser may be too late
		card = p.pages(t, "a").Card
		browser.goTo(card)
		shown = slices.Contains(browser.asked(), card+"/events")
	}
	browser.untilText("h1", textExpired)
	call(t, http.MethodPost, card+"/renew").WantError(t, http.StatusGone, "bad_token")
}

// A card whose stream delivers nothing, as behind a proxy that buffers it, polls.
func TestBrowserWithoutAStream(t *testing.T) {
	t.Parallel() // it mostly waits
	asked := make(chan struct{}, 64)
	s := newSite(t, func(s *site) {
		s.wrap = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/events") {
					asked <- struct{}{}
					<-r.Context().Done()
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	})
	s.start(t, roomlinktest.Conversation("a"), 0)
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("pending")
	for range 2 { // the card gives up a stream, and tries again
		roomlinktest.Receive(t, asked, "a request for the stream")
	}
	s.links(t, roomlinktest.Conversation("a"))
	browser.untilStatus("ready")
	if got := browser.text("#lost"); got != "" {
		t.Errorf("connection: got %q, want nothing: the polls are answered", got)
	}
}

// A card shows at once that its account was removed.
func TestBrowserSeesItsAccountRemoved(t *testing.T) {
	s := newSite(t)
	s.links(t, roomlinktest.Conversation("a"))
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("ready")
	s.viewer.SetAccounts(nil)
	browser.untilText("h1", textInvalid)
}
