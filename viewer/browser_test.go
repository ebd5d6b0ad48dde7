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

// stay marks a page, so that stayed can tell whether it was loaded anew.
func (t *tab) stay() {
	t.tb.Helper()
	eval[bool](t, "window.stayed = true")
}

func (t *tab) stayed() {
	t.tb.Helper()
	if !eval[bool](t, "window.stayed === true") {
		t.tb.Error("page: got it loaded anew, want it to stay")
	}
}

// record has the card keep what it shows from now on, so that nothing is missed
// however late a test looks: status, time left, what is said of a renewal and of a
// copy, and the copy button with where the QR code is below it.
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

// untilRecorded waits until the card has shown something.
func (t *tab) untilRecorded(pattern string) {
	t.tb.Helper()
	t.until(fmt.Sprintf("recorded.some((shown) => new RegExp(%q).test(shown))", pattern))
}

func TestBrowserFollowsARoom(t *testing.T) {
	t.Parallel() // it waits more than it works
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
	browser.until("/^Ticket ends in (4h 0|3h 5\\d)m/.test(document.querySelector('#left').innerText)")
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

// A ticket ends while its card is shown, and a new link takes its place.
func TestBrowserSeesATicketEnd(t *testing.T) {
	t.Parallel() // it waits more than it works
	p := newProgram(t, "ROOMLINK_TICKET_EXPIRATION=15s")
	release := p.hold(t, "a", asUsual)
	p.start(t, "a")
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Card)
	browser.untilStatus("pending")
	browser.stay()
	browser.record()
	release()
	browser.untilRecorded(`^ready \| Ticket ends in \d+s at .* \| time soon`)
	browser.untilStatus("expired")
	want := []string{"#join", "#renew"}
	if got := browser.shown(append(want, "#share", "#left")...); !slices.Equal(got, want) {
		t.Errorf("after the end: got %q shown, want %q", got, want)
	}

	browser.click("#renew")
	browser.click("#leave")
	if got := browser.shown("#sure"); got != nil {
		t.Errorf("after Cancel: got %q shown, want it gone", got)
	}
	if slices.ContainsFunc(browser.asked(), func(request string) bool { return strings.HasSuffix(request, "/renew") }) {
		t.Error("after Cancel: got a renewal asked for, want none")
	}
	release = p.hold(t, "a", asUsual)
	browser.click("#renew")
	browser.click("#confirm")
	browser.untilStatus("pending")
	browser.untilText("#heading", "New room on its way")
	if got := browser.focused(); got != "MAIN" {
		t.Errorf("after the button went: got the focus on %q, want the card", got)
	}
	release()
	browser.untilRecorded(`^ready .*The new link is ready`)
	p.wantRooms(t, "a", 2)
	browser.stayed()
	browser.wantQuiet(p.url)
}

// The zone and the manner of times are the browser's.
func TestBrowserTellsTheEndInItsZone(t *testing.T) {
	p := newProgram(t)
	expiresAt, err := time.Parse(time.RFC3339, p.ready(t, "a")["expiresAt"])
	if err != nil {
		t.Fatalf("reading the end of a ticket: %v", err)
	}
	browser := newTab(t, look{zone: "Asia/Tokyo"})
	browser.goTo(p.pages(t, "a").Card)
	browser.untilText("#until", "at ")
	there := expiresAt.In(time.FixedZone("Tokyo", 9*60*60))
	want := regexp.MustCompile(there.Format(`\b(15:04|3:04.?(PM|pm))\b`))
	if got := browser.text("#until"); !want.MatchString(got) {
		t.Errorf("end in Tokyo: got %q, want %v", got, want)
	}
	browser.wantQuiet(p.url)
}

// meeting is a site that stands for auvious', and tells who comes. It has the rooms
// that it returns the URLs of.
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
	browser.untilStatus("ready") // in a tab of its own, so the card is still there
	browser.wantQuiet(p.url)
}

func TestBrowserTakesTheAgentOn(t *testing.T) {
	t.Parallel() // it waits more than it works
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

func TestBrowserTakesTheCustomerOn(t *testing.T) {
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
	p.act(t, "a", 3600) // which tries anew what has failed
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

// Where scripts are off, a page that waits looks again all the same.
func TestBrowserWithoutScripts(t *testing.T) {
	t.Parallel() // it waits more than it works
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
