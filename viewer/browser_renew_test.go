package viewer_test

import (
	"slices"
	"testing"

	"roomlink/messages"
)

// While a ticket is valid, the card shows the old links until the new links arrive.
func TestBrowserRenewsEarly(t *testing.T) {
	p := newProgram(t)
	old := p.ready(t, "a")
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Card)
	browser.stay()
	release := p.hold(t, "a", asUsual)
	browser.click("#renew")
	browser.click("#confirm")
	browser.untilText("#note", "A new room is on its way")
	if got := browser.shown("#join", "#copy"); len(got) != 2 {
		t.Errorf("during the renewal: got %q shown, want the old links", got)
	}
	release()
	browser.untilText("#note", "The new room is ready")
	fresh := p.until(t, "a", "ready")
	if got := eval[string](browser, "document.querySelector('#join').href"); got != fresh["agentUrl"] || got == old["agentUrl"] {
		t.Errorf("Join video: got a link to %q, want the second room at %q", got, fresh["agentUrl"])
	}
	wantTicket(t, old["customerUrl"], fresh) // a renewal keeps the customer's link
	p.wantRooms(t, "a", 2)
	browser.stayed()
	browser.wantQuiet(p.url)
}

func TestBrowserShowsAFailedRenewal(t *testing.T) {
	p := newProgram(t)
	p.ready(t, "a")
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Card)
	release := p.hold(t, "a", refusal)
	browser.click("#renew")
	browser.click("#confirm")
	browser.untilText("#note", "A new room is on its way")
	release()
	browser.untilStatus("failed")
	want := []string{"#join", "#copy", "#renew"}
	if got := browser.shown(want...); !slices.Equal(got, want) || browser.text("#heading") != "The new room failed" {
		t.Errorf("after the failure: got %q shown below %q, want %q", got, browser.text("#heading"), want)
	}
	if got := browser.text("#reason"); got != messages.ReasonRejected {
		t.Errorf("reason: got %q, want %q", got, messages.ReasonRejected)
	}
	if eval[bool](browser, "document.querySelector('#renew').hasAttribute('aria-disabled')") {
		t.Error("New room: got the button disabled, want it enabled")
	}
	p.wantRooms(t, "a", 1)
	browser.wantQuiet(p.url)
}
