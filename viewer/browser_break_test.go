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
)

// The card goes on through a crash of the whole program, with the room that it
// waits for, and through an operator's restart.
func TestBrowserReconnects(t *testing.T) {
	t.Parallel() // it waits more than it works
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
	browser.forget() // it complained of the server that was not there
	browser.click("#renew")
	browser.click("#confirm")
	browser.untilText("#note", "The new link is ready")
	browser.stayed()
	browser.wantQuiet(p.url)
}

// proxy is what stands before a server, and answers for it while it is not there.
// It leads to the address that it was last told of.
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
	quiet := log.New(io.Discard, "", 0) // it would tell of each answer that is broken off
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

// A proxy's answer for a server that restarts is no stream, and ends what the
// browser itself tries.
func TestBrowserReconnectsBehindAProxy(t *testing.T) {
	t.Parallel() // it waits more than it works
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
	browser.forget() // it complained of the answers of the proxy
	browser.wantQuiet(address)
}

// A card that is still shown when its address has ended says so.
func TestBrowserSeesItsAddressEnd(t *testing.T) {
	t.Parallel() // it waits more than it works
	p := newProgram(t, "ROOMLINK_PAGE_LIFETIME=10s")
	p.ready(t, "a")
	browser := newTab(t, look{})
	var card string
	for shown := false; !shown; { // a slow browser may come too late
		card = p.pages(t, "a").Card
		browser.goTo(card)
		shown = slices.Contains(browser.asked(), card+"/events")
	}
	browser.untilText("h1", textEnded)
	call(t, http.MethodPost, card+"/renew").WantError(t, http.StatusGone, "bad_token")
}
