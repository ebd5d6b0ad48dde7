package viewer_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

func TestBrowserByKeyboard(t *testing.T) {
	p := newProgram(t)
	p.says("a", made(t, invented))
	p.ready(t, "a")
	browser := newTab(t, look{})
	browser.allowClipboard(p.url, p.url)
	browser.goTo(p.pages(t, "a").Card)
	browser.untilStatus("ready")
	press := func(key, want string) {
		t.Helper()
		browser.do(chromedp.KeyEvent(key))
		if got := browser.focused(); got != want {
			t.Errorf("after a key: got the focus on %q, want %q", got, want)
		}
	}
	press(kb.Tab, "join")
	if got := eval[string](browser, "getComputedStyle(document.activeElement).outlineStyle"); got != "solid" {
		t.Errorf("focus: got an outline that is %q, want a solid one", got)
	}
	press(kb.Tab, "copy")
	browser.record()
	press(kb.Enter, "copy")
	browser.untilRecorded("Customer link copied")
	press(kb.Tab, "SUMMARY")
	press(" ", "SUMMARY")
	browser.until("document.querySelector('#qr').open")
	press(kb.Tab, "renew")
	press(kb.Enter, "confirm")
	press(kb.Tab, "cancel")
	press(kb.Escape, "renew")
	press(kb.Enter, "confirm")
	release := p.hold(t, "a", asUsual)
	press(kb.Enter, "renew")
	browser.untilText("#note", "A new room is on its way")
	press(kb.Tab, "recording")
	release()
	browser.untilText("#note", "The new room is ready")
	p.wantRooms(t, "a", 2)
	browser.wantQuiet(p.url)
}

// The card fits the narrowest frame in every state.
func TestBrowserAt320(t *testing.T) {
	p := newProgram(t)
	long := strings.Repeat("0123456789", 25)
	p.says(long, refusal)
	p.start(t, long)
	p.statuses(t)
	p.until(t, long, "failed")
	browser := newTab(t, look{width: 320, height: 480})
	for _, id := range []string{"pending", "ready", "expired", "failed", "unknown", "renewing", "renewal failed", long} {
		browser.goTo(p.pages(t, id).Card)
		browser.until("document.querySelector('#heading')")
		if id == "ready" {
			browser.click("#renew")
			browser.click("#qr summary")
		}
		if wide := eval[int](browser, "document.documentElement.scrollWidth"); wide > 320 {
			t.Errorf("%s: got a card %d px wide, want it to fit 320", id, wide)
		}
	}
	browser.wantQuiet(p.url)
}

func TestBrowserDarkTheme(t *testing.T) {
	p := newProgram(t)
	p.ready(t, "a")
	browser := newTab(t, look{dark: true, still: true})
	browser.goTo(p.pages(t, "a").Card)
	browser.untilStatus("ready")
	const backs = "getComputedStyle(document.body).backgroundColor"
	if got := eval[string](browser, backs); got != "rgb(21, 23, 28)" {
		t.Errorf("dark theme: got a background of %s, want a dark one", got)
	}
	browser.see(look{})
	browser.until(backs + " === 'rgb(255, 255, 255)'")
	browser.wantQuiet(p.url)
}

func TestBrowserReducedMotion(t *testing.T) {
	p := newProgram(t)
	p.hold(t, "a", asUsual)
	p.start(t, "a")
	for _, still := range []bool{true, false} {
		browser := newTab(t, look{still: still})
		browser.goTo(p.pages(t, "a").Card)
		browser.untilStatus("pending")
		moves := eval[int](browser, "document.getAnimations().length") > 0
		if moves == still {
			t.Errorf("reduced motion %v: got an animation: %v, want %v", still, moves, !still)
		}
	}
}
