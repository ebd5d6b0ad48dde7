package viewer_test

import (
	"strings"
	"testing"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// script tries to get out of wherever it is put, and to leave a trace. It has no
// space, so that a URL may have it too.
const script = `"><img/src=x/onerror=ran=1><script>ran=1</script>'`

// wantNothingRan looks for that trace.
func (t *tab) wantNothingRan(what string) {
	t.tb.Helper()
	if eval[bool](t, "'ran' in window") {
		t.tb.Errorf("%s: got a script of another's that ran, want none", what)
	}
}

// Nothing that auvious or Talkdesk gives runs, neither at first nor by an event.
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

// The worker lets no javascript: in; one that were stored all the same leads nowhere.
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
