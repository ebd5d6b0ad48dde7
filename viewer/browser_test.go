package viewer_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

// stay marks a page. stayed then detects a reload.
func (t *tab) stay() {
	t.tb.Helper()
	eval[bool](t, "window.stayed = true")
}

func (t *tab) stayed() {
	t.tb.Helper()
	if !eval[bool](t, "window.stayed === true") {
		t.tb.Error("page: got a reload, want none")
	}
}

// record makes the card keep every state that it shows: status, time left, the words about
// a renewal and a copy, the copy button, and the position of the QR code. A slow test then
// misses nothing.
func (t *tab) record() {
	t.tb.Helper()
	eval[bool](t, `(() => {
		const at = (selector) => document.querySelector(selector);
		const main = at("main");
		window.recorded = [];
		const keep = () => {
			const now = [
				main.dataset.status, at("#left").hidden ? "" : at("#left").innerText, at("#left").className, at("#note").innerText,
				at("#copied").innerText, at("#copy").innerText, Math.round(at("#qr").getBoundingClientRect().top),
			].join(" | ").replace(/\s+/g, " ");
			if (now !== recorded.at(-1)) recorded.push(now);
		};
		new MutationObserver(keep).observe(main, { attributes: true, characterData: true, childList: true, subtree: true });
		keep();
		return true;
	})()`)
}

// untilRecorded waits until the card has shown text that matches a pattern.
func (t *tab) untilRecorded(pattern string) {
	t.tb.Helper()
	t.until(fmt.Sprintf("recorded.some((shown) => new RegExp(%q).test(shown))", pattern))
}

func TestBrowserFollowsARoom(t *testing.T) {
	t.Parallel() // it mostly waits
	p := newProgram(t)
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Card)
	browser.untilStatus("unknown")
	browser.stay()
	release := p.hold(t, "a", asUsual)
	p.start(t, "a")
	browser.untilStatus("pending")
	browser.until("/^Waiting for [1-9]/.test(document.querySelector('#waited').innerText)")
	if got := browser.shown("#join", "#share", "#renew", "#left", "#recording", "#reference"); got != nil {
		t.Errorf("while it waits: got %q shown, want none of them", got)
	}
	release()
	browser.untilStatus("ready")
	browser.until("/^Link expires in (4h 0|3h 5\\d)m/.test(document.querySelector('#left').innerText)")
	want := []string{"#join", "#copy", "#qr summary", "#renew", "#left"}
	if got := browser.shown(append(want, "#link", "#sure", "#waited", "#recording", "#reference")...); !slices.Equal(got, want) {
		t.Errorf("once it is ready: got %q shown, want %q", got, want)
	}
	if got, want := eval[string](browser, "document.querySelector('#join').href"), p.links(t, "a")["agentUrl"]; got != want {
		t.Errorf("Join video: got a link to %q, want %q", got, want)
	}
	p.wantRooms(t, "a", 1)
	browser.stayed()
	browser.wantQuiet(p.url)
}

func TestBrowserShowsARecording(t *testing.T) {
	p := newProgram(t)
	p.says("a", made(t, invented))
	p.ready(t, "a")
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Card)
	browser.untilStatus("ready")
	if got := eval[string](browser, "document.querySelector('#recording').href"); got != recordingURL || browser.shown("#recording") == nil {
		t.Errorf("Recording: got a link to %q, want %q, shown", got, recordingURL)
	}
	browser.wantQuiet(p.url)
}

func TestBrowserFollowsAFailure(t *testing.T) {
	p := newProgram(t)
	release := p.hold(t, "a", refusal)
	p.start(t, "a")
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Card)
	browser.untilStatus("pending")
	browser.stay()
	release()
	browser.untilStatus("failed")
	for selector, want := range map[string]string{
		"[role=status]": "auvious refused", "#reference": "Conversation a", "#reason": messages.ReasonRejected,
	} {
		if got := browser.text(selector); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it", selector, got, want)
		}
	}
	browser.stayed()
	browser.wantQuiet(p.url)
}

// A ticket expires on an open card, and the agent asks for a new room.
func TestBrowserSeesATicketExpire(t *testing.T) {
	t.Parallel() // it mostly waits
	p := newProgram(t, "ROOMLINK_TICKET_EXPIRATION=15s")
	release := p.hold(t, "a", asUsual)
	p.start(t, "a")
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Card)
	browser.untilStatus("pending")
	browser.stay()
	browser.record()
	release()
	browser.untilRecorded(`^ready \| Link expires in \d+s at .* \| time soon`)
	browser.untilStatus("expired")
	want := []string{"#join", "#renew"}
	if got := browser.shown(append(want, "#share", "#left")...); !slices.Equal(got, want) {
		t.Errorf("after the expiry: got %q shown, want %q", got, want)
	}

	browser.click("#renew")
	browser.click("#cancel")
	if got := browser.shown("#sure"); got != nil {
		t.Errorf("after Cancel: got %q shown, want it gone", got)
	}
	if slices.ContainsFunc(browser.asked(), func(request string) bool { return strings.HasSuffix(request, "/renew") }) {
		t.Error("after Cancel: got a renewal, want none")
	}
	release = p.hold(t, "a", asUsual)
	browser.click("#renew")
	browser.click("#confirm")
	browser.untilStatus("pending")
	browser.untilText("#heading", "New room on its way")
	if got := browser.focused(); got != "MAIN" {
		t.Errorf("after the button was hidden: got the focus on %q, want the card", got)
	}
	release()
	browser.untilRecorded(`^ready .*The new room is ready`)
	p.wantRooms(t, "a", 2)
	browser.stayed()
	browser.wantQuiet(p.url)
}

// Times have the zone and format of the browser.
func TestBrowserShowsTheExpiryInItsZone(t *testing.T) {
	p := newProgram(t)
	expiresAt, err := time.Parse(time.RFC3339, p.ready(t, "a")["expiresAt"])
	if err != nil {
		t.Fatalf("reading the expiry of a ticket: %v", err)
	}
	browser := newTab(t, look{zone: "Asia/Tokyo"})
	browser.goTo(p.pages(t, "a").Card)
	browser.untilText("#until", "at ")
	there := expiresAt.In(time.FixedZone("Tokyo", 9*60*60))
	want := regexp.MustCompile(there.Format(`\b(15:04|3:04.?(PM|pm))\b`))
	if got := browser.text("#until"); !want.MatchString(got) {
		t.Errorf("expiry in Tokyo: got %q, want %v", got, want)
	}
	browser.wantQuiet(p.url)
}

// meeting is a site in place of auvious' site. It returns the URLs of a room there, and
// reports the visits.
func meeting(t *testing.T) (site string, room urls, visits <-chan string) {
	t.Helper()
	seen := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/favicon.ico" {
			return
		}
		seen <- r.Method + " " + r.URL.Path + " " + r.Referer()
		fmt.Fprint(w, `<!doctype html><title>Room</title><link rel="icon" href="data:,"><h1>In the room</h1>`)
	}))
	t.Cleanup(server.Close)
	return server.URL, urls{AgentURL: server.URL + "/agent", TicketURL: server.URL + "/ticket"}, seen
}

func TestBrowserJoins(t *testing.T) {
	_, room, visits := meeting(t)
	p := newProgram(t)
	p.says("a", made(t, room))
	p.ready(t, "a")
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Card)
	browser.click("#join")
	if got := roomlinktest.Receive(t, visits, "the agent"); got != "GET /agent " {
		t.Errorf("visit: got %q, want the agent's without a referrer", got)
	}
	browser.untilStatus("ready") // the room opens in another tab
	browser.wantQuiet(p.url)
}

func TestBrowserLeadsTheAgentToTheRoom(t *testing.T) {
	t.Parallel() // it mostly waits
	site, room, visits := meeting(t)
	p := newProgram(t)
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Context)
	browser.untilText("h1", textUnknown)
	release := p.hold(t, "a", made(t, room))
	p.start(t, "a")
	browser.untilText("h1", textWaiting)
	release()
	browser.untilText("h1", "In the room")
	if got := roomlinktest.Receive(t, visits, "the agent"); got != "GET /agent " {
		t.Errorf("visit: got %q, want the agent's without a referrer", got)
	}
	browser.wantQuiet(p.url, site)
}

func TestBrowserLeadsTheCustomerToTheRoom(t *testing.T) {
	site, room, visits := meeting(t)
	p := newProgram(t)
	release := p.hold(t, "a", refusal)
	p.start(t, "a")
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Customer)
	browser.untilText("h1", textWaiting)
	release()
	browser.untilText("h1", textFailed)
	p.says("a", made(t, room))
	p.act(t, "a", 3600) // an action retries a failed conversation
	browser.untilText("h1", textReady)
	select {
	case got := <-visits:
		t.Errorf("before the click: got the visit %q, want none", got)
	default:
	}
	browser.click("button")
	browser.untilText("h1", "In the room")
	if got := roomlinktest.Receive(t, visits, "the customer"); got != "GET /ticket " {
		t.Errorf("visit: got %q, want the customer's without a referrer", got)
	}
	browser.wantQuiet(p.url, site)
}

// Without scripts, a waiting page reloads itself.
func TestBrowserWithoutScripts(t *testing.T) {
	t.Parallel() // it mostly waits
	p := newProgram(t)
	release := p.hold(t, "a", asUsual)
	p.start(t, "a")
	pages := p.pages(t, "a")
	browser := newTab(t, look{scriptless: true})
	browser.goTo(pages.Customer)
	browser.untilText("h1", textWaiting)
	release()
	browser.untilText("h1", textReady)
	browser.goTo(pages.Card)
	want := []string{"#join", "#link", "#qr summary"}
	if got := browser.shown(append(want, "#copy", "#renew")...); !slices.Equal(got, want) {
		t.Errorf("card: got %q shown, want %q", got, want)
	}
	browser.wantQuiet(p.url)
}
