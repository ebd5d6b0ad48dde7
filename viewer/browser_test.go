package viewer_test

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"roomlink/messages"
)

// endsIn has links whose ticket ends after a time.
func endsIn(d time.Duration) func(*messages.Links) {
	return func(l *messages.Links) { l.ExpiresAt = messages.At(time.Now().Add(d)) }
}

// renewed stores links in place of those that a conversation has.
func (s *site) renewed(tb testing.TB, named messages.Conversation, edits ...func(*messages.Links)) {
	tb.Helper()
	old, err := s.client.Links(limited(tb), named, messages.Leader)
	if err != nil {
		tb.Fatalf("reading the links of %q: %v", named.InteractionID, err)
	}
	data := old.Data
	data.Generation++
	data.ExpiresAt = later
	for _, edit := range edits {
		edit(&data)
	}
	if _, err := s.client.PublishLinks(limited(tb), messages.NewEvent(noon, data), old.Sequence); err != nil {
		tb.Fatalf("publishing the links of %q: %v", named.InteractionID, err)
	}
}

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

func TestBrowserFollowsARoom(t *testing.T) {
	s := newSite(t)
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("unknown")
	browser.stay()
	s.start(t, conversation("a"), 0)
	browser.untilStatus("pending")
	browser.until("/^Waiting for [1-9]\\d*s$/.test(document.querySelector('#waited').innerText)")
	if got := browser.shown("#join", "#share", "#renew", "#left", "#reference"); got != nil {
		t.Errorf("while it waits: got %q shown, want none of them", got)
	}
	s.links(t, conversation("a"), endsIn(4*time.Hour))
	browser.untilStatus("ready")
	browser.untilText("#left", "Ticket ends in 3h 59m")
	want := []string{"#join", "#copy", "#qr summary", "#renew", "#recording", "#left"}
	if got := browser.shown(append(want, "#link", "#sure", "#waited", "#reference")...); !slices.Equal(got, want) {
		t.Errorf("once it is ready: got %q shown, want %q", got, want)
	}
	if got := eval[string](browser, "document.querySelector('#join').href"); got != agentURL {
		t.Errorf("Join video: got a link to %q, want %q", got, agentURL)
	}
	browser.stayed()
	browser.wantQuiet(s.url)
}

func TestBrowserFollowsAFailure(t *testing.T) {
	s := newSite(t)
	s.start(t, conversation("a"), 0)
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("pending")
	browser.stay()
	s.fail(t, conversation("a"), messages.ReasonRejected)
	browser.untilStatus("failed")
	for selector, want := range map[string]string{
		"[role=status]": "auvious refused", "#reference": "Conversation a", "#reason": messages.ReasonRejected,
	} {
		if got := browser.text(selector); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q in it", selector, got, want)
		}
	}
	browser.stayed()
	browser.wantQuiet(s.url)
}

func TestBrowserSeesATicketEnd(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"), endsIn(8*time.Second))
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("ready")
	browser.stay()
	browser.until("/^Ticket ends in [1-5]s/.test(document.querySelector('#left.soon').innerText)")
	browser.untilStatus("expired")
	want := []string{"#join", "#renew", "#recording"}
	if got := browser.shown(append(want, "#share", "#left")...); !slices.Equal(got, want) {
		t.Errorf("after the end: got %q shown, want %q", got, want)
	}
	browser.stayed()
	browser.wantQuiet(s.url)
}

// The zone and the manner of times are the browser's.
func TestBrowserTellsTheEndInItsZone(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	browser := newTab(t, look{zone: "Asia/Tokyo"})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilText("#until", "at ")
	if got := browser.text("#until"); !strings.Contains(got, "9:00") && !strings.Contains(got, "09:00") {
		t.Errorf("end in Tokyo: got %q, want 9:00 of the day", got)
	}
}

func TestBrowserCopiesTheCustomerLink(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	browser := newTab(t, look{})
	browser.allowClipboard(s.url, s.url)
	browser.goTo(s.pagesOf("a").Card)
	browser.click("#copy")
	browser.untilText("#copied", "Customer link copied")
	address := eval[string](browser, "navigator.clipboard.readText()")
	s.do(t, http.MethodPost, address).wantRedirect(t, http.StatusSeeOther, ticketURL)
	browser.wantQuiet(s.url)
}

// Where nothing may write to the clipboard, the link is there to copy by hand.
func TestBrowserShowsWhatItCannotCopy(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	eval[bool](browser, `Object.defineProperty(navigator, "clipboard", { value: undefined }), document.execCommand = () => false, true`)
	browser.click("#copy")
	browser.untilText("#copied", "press Ctrl+C")
	address := eval[string](browser, "getSelection().toString()")
	s.do(t, http.MethodPost, address).wantRedirect(t, http.StatusSeeOther, ticketURL)
}

func TestBrowserShowsAQRCode(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	for _, how := range []look{{scale: 2}, {scale: 2, dark: true}} {
		browser := newTab(t, how)
		browser.goTo(s.pagesOf("a").Card)
		browser.untilStatus("ready")
		if slices.ContainsFunc(browser.asked(), func(request string) bool { return strings.HasSuffix(request, "/qr.svg") }) {
			t.Error("QR code: got it before it was asked for, want it after")
		}
		browser.click("#qr summary")
		browser.until("document.querySelector('#qr img').complete && document.querySelector('#qr img').naturalWidth > 0")
		picture, err := chromedp.Run(browser.ctx, chromedp.Screenshot(chromedp.CSS("#qr img"), chromedp.NodeVisible))
		if err != nil {
			t.Fatalf("taking a picture: %v", err)
		}
		s.do(t, http.MethodPost, scan(t, picture)).wantRedirect(t, http.StatusSeeOther, ticketURL)
		browser.wantQuiet(s.url)
	}
}

// scan reads a QR code as a camera would.
func scan(t *testing.T, picture []byte) string {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatalf("decoding a picture: %v", err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatalf("reading a picture: %v", err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true})
	if err != nil {
		t.Fatalf("scanning a QR code: %v", err)
	}
	return result.GetText()
}

func TestBrowserRenews(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"), expired)
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("expired")
	browser.stay()

	browser.click("#renew")
	browser.click("#leave")
	if got := browser.shown("#sure"); got != nil {
		t.Errorf("after Cancel: got %q shown, want it gone", got)
	}
	if _, err := s.client.Waiting(limited(t), conversation("a")); err == nil {
		t.Error("after Cancel: got a renewal, want none")
	}

	browser.click("#renew")
	browser.click("#confirm")
	browser.untilStatus("pending")
	browser.untilText("#heading", "New room on its way")
	event, err := s.client.Waiting(limited(t), conversation("a"))
	if err != nil || event.Data.Renews != 1 || event.Data.Source != messages.SourceCard {
		t.Errorf("event: got %+v and error %v, want the card's, which renews 1", event.Data, err)
	}
	s.renewed(t, conversation("a"))
	browser.untilStatus("ready")
	browser.untilText("#note", "The new link is ready")
	browser.stayed()
	browser.wantQuiet(s.url)
}

// While a ticket lives, its links stay until the new ones are there.
func TestBrowserRenewsEarly(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.click("#renew")
	browser.click("#confirm")
	browser.untilText("#note", "A new link is on its way")
	if got := browser.shown("#join", "#copy"); len(got) != 2 {
		t.Errorf("while it is renewed: got %q shown, want the links from before", got)
	}
	s.renewed(t, conversation("a"), func(l *messages.Links) { l.AgentURL = "https://video.example/second" })
	browser.untilText("#note", "The new link is ready")
	if got := eval[string](browser, "document.querySelector('#join').href"); got != "https://video.example/second" {
		t.Errorf("Join video: got a link to %q, want the second room", got)
	}
	browser.wantQuiet(s.url)
}

func TestBrowserTellsOfAFailedRenewal(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.click("#renew")
	browser.click("#confirm")
	browser.untilText("#note", "A new link is on its way")
	s.fail(t, conversation("a"), messages.ReasonExpired)
	browser.untilStatus("failed")
	want := []string{"#join", "#copy", "#renew"}
	if got := browser.shown(want...); !slices.Equal(got, want) || browser.text("#heading") != "The new room failed" {
		t.Errorf("after the failure: got %q shown below %q, want %q", got, browser.text("#heading"), want)
	}
	if eval[bool](browser, "document.querySelector('#renew').hasAttribute('aria-disabled')") {
		t.Error("New link: got it out of use, want it to work again")
	}
	browser.wantQuiet(s.url)
}

func TestBrowserReconnects(t *testing.T) {
	s := newSite(t)
	s.start(t, conversation("a"), 0)
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("pending")
	browser.stay()
	s.halt(t)
	browser.untilText("#lost", "Connection lost")
	s.links(t, conversation("a"))
	s.restart(t)
	browser.untilStatus("ready")
	browser.until("document.querySelector('#lost').textContent === ''")
	browser.stayed()
	browser.forget() // it complained of the server that was not there
	browser.wantQuiet(s.url)
}

// A proxy's answer for a server that restarts is no stream, and ends what the
// browser itself tries.
func TestBrowserReconnectsBehindAProxy(t *testing.T) {
	down := make(chan struct{}, 2)
	down <- struct{}{}
	down <- struct{}{}
	s := newSite(t, func(s *site) {
		s.wrap = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/events") {
					select {
					case <-down:
						http.Error(w, "no backend", http.StatusBadGateway)
						return
					default:
					}
				}
				next.ServeHTTP(w, r)
			})
		}
	})
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("unknown")
	browser.stay()
	s.links(t, conversation("a"))
	browser.untilStatus("ready")
	browser.stayed()
}

// A card that is still shown when its address has ended says so.
func TestBrowserSeesItsAddressEnd(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	pages := s.pages
	pages.Lifetime = 6 * time.Second
	browser := newTab(t, look{})
	browser.goTo(pages.For(conversation("a"), time.Now()).Card)
	browser.untilStatus("ready")
	browser.untilStatus("expired")
	browser.untilText("h1", textEnded)
}

// room is a server that stands for auvious', and counts who comes.
func room(t *testing.T) (address string, visits <-chan string) {
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
	return server.URL, seen
}

func at(address string) func(*messages.Links) {
	return func(l *messages.Links) {
		l.AgentURL, l.TicketURL = address+"/agent", messages.Secret(address+"/ticket")
	}
}

func TestBrowserJoins(t *testing.T) {
	address, visits := room(t)
	s := newSite(t)
	s.links(t, conversation("a"), at(address))
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Card)
	browser.click("#join")
	if got := receive(t, visits, "the agent"); got != "GET /agent " {
		t.Errorf("visit: got %q, want the agent's without a referrer", got)
	}
	browser.untilStatus("ready") // in a tab of its own, so the card is still there
	browser.wantQuiet(s.url)
}

func TestBrowserTakesTheAgentOn(t *testing.T) {
	address, visits := room(t)
	s := newSite(t)
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Context)
	browser.untilText("h1", textUnknown)
	s.start(t, conversation("a"), 0)
	browser.untilText("h1", textWaiting)
	s.links(t, conversation("a"), at(address))
	browser.untilText("h1", "In the room")
	if got := receive(t, visits, "the agent"); got != "GET /agent " {
		t.Errorf("visit: got %q, want the agent's without a referrer", got)
	}
	browser.wantQuiet(s.url, address)
}

func TestBrowserTakesTheCustomerOn(t *testing.T) {
	address, visits := room(t)
	s := newSite(t)
	s.start(t, conversation("a"), 0)
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf("a").Customer)
	browser.untilText("h1", textWaiting)
	s.fail(t, conversation("a"), messages.ReasonRejected)
	browser.untilText("h1", textFailed)
	s.links(t, conversation("a"), at(address))
	browser.untilText("h1", textReady)
	select {
	case got := <-visits:
		t.Errorf("before the click: got the visit %q, want none", got)
	default:
	}
	browser.click("button")
	browser.untilText("h1", "In the room")
	if got := receive(t, visits, "the customer"); got != "GET /ticket " {
		t.Errorf("visit: got %q, want the customer's without a referrer", got)
	}
	browser.wantQuiet(s.url, address)
}

// Where scripts are off, a page that waits looks again all the same.
func TestBrowserWithoutScripts(t *testing.T) {
	s := newSite(t)
	s.start(t, conversation("a"), 0)
	pages := s.pagesOf("a")
	browser := newTab(t, look{scriptless: true})
	browser.goTo(pages.Customer)
	s.links(t, conversation("a"))
	browser.untilAsked(pages.Customer, 2)
	browser.goTo(pages.Card)
	want := []string{"#join", "#link", "#qr summary", "#recording"}
	if got := browser.shown(append(want, "#copy", "#renew")...); !slices.Equal(got, want) {
		t.Errorf("card: got %q shown, want %q", got, want)
	}
}

func TestBrowserByKeyboard(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	browser := newTab(t, look{})
	browser.allowClipboard(s.url, s.url)
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("ready")
	focused := func() string {
		return eval[string](browser, "document.activeElement.id || document.activeElement.tagName")
	}
	press := func(key, want string) {
		t.Helper()
		browser.do(chromedp.KeyEvent(key))
		if got := focused(); got != want {
			t.Errorf("after a key: got the focus on %q, want %q", got, want)
		}
	}
	press(kb.Tab, "join")
	if got := eval[string](browser, "getComputedStyle(document.activeElement).outlineStyle"); got != "solid" {
		t.Errorf("focus: got an outline that is %q, want a solid one", got)
	}
	press(kb.Tab, "copy")
	press(kb.Enter, "copy")
	browser.untilText("#copied", "Customer link copied")
	press(kb.Tab, "SUMMARY")
	press(" ", "SUMMARY")
	browser.until("document.querySelector('#qr').open")
	press(kb.Tab, "renew")
	press(kb.Enter, "confirm")
	press(kb.Tab, "leave")
	press(kb.Escape, "renew")
	press(kb.Enter, "confirm")
	press(kb.Enter, "renew")
	browser.untilText("#note", "A new link is on its way")
	press(kb.Tab, "recording")

	// What goes while it has the focus leaves it on the card.
	eval[bool](browser, "document.querySelector('#copy').focus(), true")
	s.renewed(t, conversation("a"), expired)
	browser.untilStatus("expired")
	if got := focused(); got != "MAIN" {
		t.Errorf("after the button went: got the focus on %q, want the card", got)
	}
	browser.wantQuiet(s.url)
}

// framed is the page of a site that has an address in a frame.
func framed(parent, address string) string { return parent + "/?card=" + url.QueryEscape(address) }

// frame is the document in the frame of a page.
func (t *tab) frame(prefix string) *tab {
	t.tb.Helper()
	for t.ctx.Err() == nil {
		infos, err := chromedp.Targets(t.ctx)
		if err != nil {
			break
		}
		for _, info := range infos {
			if info.Type == "iframe" && strings.HasPrefix(info.URL, prefix) {
				ctx, cancel := chromedp.NewContext(t.ctx, chromedp.WithTargetID(info.TargetID))
				t.tb.Cleanup(cancel)
				inner := &tab{tb: t.tb, ctx: ctx, heard: make(chan struct{})}
				if err := chromedp.Listen(ctx, inner.hear); err != nil {
					t.tb.Fatalf("listening to a frame: %v", err)
				}
				return inner
			}
		}
	}
	t.tb.Fatalf("got no frame of %s, want one", prefix)
	return nil
}

func TestBrowserInAFrame(t *testing.T) {
	s := newSite(t)
	s.start(t, conversation("a"), 0)
	browser := newTab(t, look{width: 400, height: 620})
	browser.goTo(framed(workspace, s.pagesOf("a").Card))
	card := browser.frame(s.url)
	card.untilStatus("pending")
	s.links(t, conversation("a"))
	card.untilStatus("ready")

	// The clipboard is barred to a frame unless the page around it says otherwise,
	// and the old way is not.
	card.click("#copy")
	card.untilText("#copied", "Customer link copied")
	browser.allowClipboard(workspace, workspace)
	browser.do(chromedp.Click(chromedp.CSS("body")))
	address := eval[string](browser, "focus(), navigator.clipboard.readText()")
	s.do(t, http.MethodPost, address).wantRedirect(t, http.StatusSeeOther, ticketURL)

	card.click("#renew")
	card.click("#confirm")
	card.untilText("#note", "A new link is on its way")
	s.renewed(t, conversation("a"))
	card.untilText("#note", "The new link is ready")
	card.wantQuiet(s.url)
}

func TestBrowserRefusesOtherFrames(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	pages := s.pagesOf("a")
	for _, test := range []struct{ parent, address string }{
		{stranger, pages.Card}, {workspace, pages.Customer}, {workspace, s.pagesOf("unknown").Context},
	} {
		browser := newTab(t, look{})
		browser.goTo(framed(test.parent, test.address))
		browser.untilMessage("frame-ancestors")
		for _, node := range eval[[]string](browser, "Array.from(frames, (frame) => { try { return frame.document.body.innerText } catch { return '' } })") {
			if strings.Contains(node, "Video room") {
				t.Errorf("in a frame of %s: got %q, want nothing of ours", test.parent, node)
			}
		}
	}
}

// Nothing that auvious or Talkdesk gives runs, neither at first nor by an event.
func TestBrowserRunsNothingHostile(t *testing.T) {
	const script = `"><img src=x onerror=alert(1)><script>alert(1)</script>'`
	s := newSite(t)
	browser := newTab(t, look{})
	browser.goTo(s.pagesOf(script).Card)
	browser.untilStatus("unknown")
	s.fail(t, conversation(script), script)
	browser.untilStatus("failed")
	for selector, want := range map[string]string{"#reference": "Conversation " + script, "#reason": script} {
		if got := browser.text(selector); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want it to begin with %q", selector, got, want)
		}
	}
	s.links(t, conversation(script), func(l *messages.Links) {
		l.AgentURL, l.RecordingURL = "javascript:alert(1)", "https://video.example/?"+script
	})
	browser.untilStatus("ready")
	if got := browser.shown("#join"); got != nil {
		t.Errorf("got %q shown for javascript:, want it hidden", got)
	}
	browser.wantQuiet(s.url)
}

// The card fits the narrowest frame, whatever it shows.
func TestBrowserAt320(t *testing.T) {
	s := newSite(t)
	s.statuses(t)
	long := strings.Repeat("0123456789", 25)
	s.fail(t, conversation(long), messages.ReasonUnknownOutcome)
	browser := newTab(t, look{width: 320, height: 480})
	for _, id := range []string{"pending", "ready", "expired", "failed", "unknown", "renewal failed", long} {
		browser.goTo(s.pagesOf(id).Card)
		browser.until("document.querySelector('#heading')")
		if id == "ready" {
			browser.click("#renew")
			browser.click("#qr summary")
		}
		if wide := eval[int](browser, "document.documentElement.scrollWidth"); wide > 320 {
			t.Errorf("%s: got a card %d px wide, want it to fit 320", id, wide)
		}
	}
	browser.wantQuiet(s.url)
}

func TestBrowserInTheDark(t *testing.T) {
	s := newSite(t)
	s.links(t, conversation("a"))
	browser := newTab(t, look{dark: true, still: true})
	browser.goTo(s.pagesOf("a").Card)
	browser.untilStatus("ready")
	const backs = "getComputedStyle(document.body).backgroundColor"
	if got := eval[string](browser, backs); got != "rgb(21, 23, 28)" {
		t.Errorf("in the dark: got a page of %s, want a dark one", got)
	}
	browser.see(look{})
	browser.until(backs + " === 'rgb(255, 255, 255)'")
	browser.wantQuiet(s.url)
}

func TestBrowserMovesNothingIfAskedTo(t *testing.T) {
	s := newSite(t)
	s.start(t, conversation("a"), 0)
	for _, still := range []bool{true, false} {
		browser := newTab(t, look{still: still})
		browser.goTo(s.pagesOf("a").Card)
		browser.untilStatus("pending")
		moves := eval[int](browser, "document.getAnimations().length") > 0
		if moves == still {
			t.Errorf("with reduced motion %v: got something that moves: %v, want %v", still, moves, !still)
		}
	}
}
