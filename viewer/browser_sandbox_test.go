package viewer_test

import (
	"slices"
	"strings"
	"testing"

	"roomlink/internal/roomlinktest"
)

// In a sandboxed frame without allow-same-origin the card has an opaque origin: its own server is another site
// to it.
func TestBrowserInASandboxedFrame(t *testing.T) {
	p := newProgram(t)
	release := p.hold(t, "a", asUsual)
	p.start(t, "a")
	browser := newTab(t, look{width: 400, height: 620})
	browser.goTo(sandboxed(workspace, "allow-scripts", p.pages(t, "a").Card))
	card := browser.frames(1)[0]
	card.untilStatus("pending")
	card.stay()
	if got := eval[string](card, "self.origin"); got != "null" {
		t.Fatalf("origin of the card: got %q, want an opaque one", got)
	}
	release()
	card.untilStatus("ready")
	wantTicket(t, browser.copied(card), p.links(t, "a"))
	card.click("#qr summary")
	card.until("document.querySelector('#qr img').naturalWidth > 0")
	card.forget() // the browser reported a picture without TLS
	card.click("#renew")
	card.click("#confirm")
	card.untilText("#note", "The new room is ready")
	p.wantRooms(t, "a", 2)
	card.stayed()
	card.wantQuiet(p.url)
}

// Without allow-popups a frame opens no tab: the card says how to open the link.
func TestBrowserCannotOpenTabs(t *testing.T) {
	_, room, visits := meeting(t)
	room.RecordingURL = strings.Replace(room.AgentURL, "/agent", "/recording", 1)
	p := newProgram(t)
	p.says("a", made(t, room))
	p.ready(t, "a")
	address := p.pages(t, "a").Card
	for _, sandbox := range []string{"allow-scripts", "allow-scripts allow-same-origin"} {
		browser := newTab(t, look{width: 400, height: 620})
		browser.goTo(sandboxed(workspace, sandbox, address))
		card := browser.frames(1)[0]
		card.untilStatus("ready")
		for selector, want := range map[string]string{"#join": room.AgentURL, "#recording": room.RecordingURL} {
			card.click(selector)
			card.untilText("#blocked", "does not let it open a tab")
			card.until("document.activeElement.id === 'address'")
			if got := eval[string](card, "document.activeElement.value.slice(document.activeElement.selectionStart, document.activeElement.selectionEnd)"); got != want {
				t.Errorf("in a frame with %q: got the text %q selected, want %q", sandbox, got, want)
			}
		}
	}
	for _, sandbox := range []string{"allow-scripts allow-popups", "allow-scripts allow-same-origin allow-popups"} {
		browser := newTab(t, look{width: 400, height: 620})
		browser.goTo(sandboxed(workspace, sandbox, address))
		card := browser.frames(1)[0]
		card.untilStatus("ready")
		card.click("#join")
		if got := roomlinktest.Receive(t, visits, "the agent"); got != "GET /agent " {
			t.Errorf("in a frame with %q: got the visit %q, want the agent's without a referrer", sandbox, got)
		}
		card.until("!document.hasFocus()")
		if got := card.shown("#address"); got != nil || card.text("#blocked") != "" {
			t.Errorf("in a frame with %q: got words about a tab, want none", sandbox)
		}
	}
	browser := newTab(t, look{})
	browser.goTo(framed(workspace, address))
	card := browser.frames(1)[0]
	card.untilStatus("ready")
	card.click("#join")
	if got := roomlinktest.Receive(t, visits, "the agent"); got != "GET /agent " {
		t.Errorf("in a frame: got the visit %q, want the agent's without a referrer", got)
	}
}

// The buttons that need the script are not there without it.
func TestBrowserWithoutScriptsInAFrame(t *testing.T) {
	p := newProgram(t)
	p.ready(t, "a")
	browser := newTab(t, look{width: 400, height: 620})
	browser.goTo(sandboxed(workspace, "", p.pages(t, "a").Card))
	card := browser.frames(1)[0]
	card.until("document.querySelector('main')")
	want := []string{"#join", "#link", "#qr summary"}
	if got := card.shown(append(want, "#copy", "#renew", "#address")...); !slices.Equal(got, want) {
		t.Errorf("without scripts: got %q shown, want %q", got, want)
	}
}
