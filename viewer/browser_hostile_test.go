package viewer_test

import (
	"strings"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// script tries to break out of HTML and to set a variable. It has no space, so it fits into
// a URL.
const script = `"><img/src=x/onerror=ran=1><script>ran=1</script>'`

// wantNothingRan checks that the script did not run.
func (t *tab) wantNothingRan(what string) {
	t.tb.Helper()
	if eval[bool](t, "'ran' in window") {
		t.tb.Errorf("%s: got the script run, want it inert", what)
	}
}

// The browser runs no text from auvious or Talkdesk, neither in the page nor in an event.
func TestBrowserRunsNothingHostile(t *testing.T) {
	p := newProgram(t)
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, script).Card)
	browser.untilStatus("unknown")
	p.says(script, made(t, urls{AgentURL: "javascript:ran=1", TicketURL: "javascript:ran=1"}))
	p.start(t, script)
	browser.untilStatus("failed")
	for selector, want := range map[string]string{
		"#reference": "Conversation " + script, "#reason": messages.ReasonBadAnswer,
	} {
		if got := browser.text(selector); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want it to begin with %q", selector, got, want)
		}
	}
	browser.wantNothingRan("failed card, live")
	browser.goTo(p.pages(t, script).Card)
	browser.untilStatus("failed")
	browser.wantNothingRan("failed card")

	const hostile = "https://video.example/?" + script
	p.says(script, made(t, urls{hostile, hostile, hostile}))
	p.act(t, script, 3600)
	browser.untilStatus("ready")
	browser.wantNothingRan("ready card, live")
	browser.goTo(p.pages(t, script).Card)
	browser.untilStatus("ready")
	for _, selector := range []string{"#join", "#recording"} {
		if got := eval[string](browser, "document.querySelector('"+selector+"').host"); got != "video.example" {
			t.Errorf("%s: got a link to %q, want it to go where auvious said", selector, got)
		}
	}
	browser.wantNothingRan("ready card")
	browser.wantQuiet(p.url)
}

// The worker refuses javascript: URLs. The card also hides a stored one.
func TestBrowserFollowsNoScript(t *testing.T) {
	s := newSite(t)
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("unknown")
	s.links(t, roomlinktest.Conversation("a"), func(l *messages.Links) {
		l.AgentURL, l.RecordingURL = "javascript:ran=1", "javascript:ran=1"
	})
	for _, when := range []string{"live", "at first"} {
		browser.untilStatus("ready")
		if got := browser.shown("#join", "#recording"); got != nil {
			t.Errorf("%s: got %q shown for javascript:, want them hidden", when, got)
		}
		browser.wantNothingRan(when)
		browser.goTo(s.pagesOf("a").Card)
	}
	browser.wantQuiet(s.url)
}
