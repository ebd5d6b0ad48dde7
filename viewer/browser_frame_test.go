package viewer_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

var _ http.Handler = (*frames)(nil)

// frames is a site that shows another site in a frame, like Talkdesk's Workspace.
type frames struct{ server *httptest.Server }

func (f *frames) start() { f.server = httptest.NewTLSServer(f) }

// ServeHTTP answers with a page that shows each address in ?card= in a frame. ?sandbox= is the sandbox attribute of
// the frames.
func (f *frames) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	sandbox := ""
	if query.Has("sandbox") {
		sandbox = ` sandbox="` + html.EscapeString(query.Get("sandbox")) + `"`
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, `<!doctype html><html lang="en"><title>Workspace</title><link rel="icon" href="data:,">
<style>body{margin:0}iframe{border:0;width:100%;height:600px}iframe:not(:only-of-type){width:160px;height:160px}</style>`)
	for _, card := range query["card"] {
		fmt.Fprintf(w, `<iframe src="%s" title="Card"%s></iframe>`, html.EscapeString(card), sandbox)
	}
}

// framed returns the address of a page that shows addresses in frames.
func framed(parent string, addresses ...string) string {
	return parent + "/?" + url.Values{"card": addresses}.Encode()
}

// sandboxed returns the address of a page that shows addresses in frames with a sandbox attribute.
func sandboxed(parent, sandbox string, addresses ...string) string {
	return framed(parent, addresses...) + "&sandbox=" + url.QueryEscape(sandbox)
}

// frames waits until a page has the given number of frames with cards, and returns their documents.
func (t *tab) frames(count int) []*tab {
	t.tb.Helper()
	for t.ctx.Err() == nil {
		infos, err := chromedp.Targets(t.ctx)
		if err != nil {
			break
		}
		infos = slices.DeleteFunc(infos, func(info *target.Info) bool {
			return info.Type != "iframe" || info.BrowserContextID != chromedp.FromContext(t.ctx).BrowserContextID ||
				!strings.Contains(info.URL, "/card/")
		})
		if len(infos) == count {
			return t.attach(infos)
		}
	}
	t.tb.Fatalf("waiting for %d frames: got fewer", count)
	return nil
}

// attach returns the tabs of targets.
func (t *tab) attach(infos []*target.Info) (inner []*tab) {
	t.tb.Helper()
	for _, info := range infos {
		ctx, cancel := chromedp.NewContext(t.ctx, chromedp.WithTargetID(info.TargetID))
		t.tb.Cleanup(cancel)
		frame := &tab{tb: t.tb, ctx: ctx, heard: make(chan struct{})}
		if err := chromedp.Listen(ctx, frame.hear); err != nil {
			t.tb.Fatalf("listening to a frame: %v", err)
		}
		inner = append(inner, frame)
	}
	return inner
}

// copied clicks on the button that copies the customer's link, in a card in a frame of the page, and returns the clipboard. In a
// frame the browser blocks the clipboard API, but not execCommand.
func (t *tab) copied(card *tab) string {
	t.tb.Helper()
	card.record()
	card.click("#copy")
	card.untilRecorded("Customer link copied")
	t.allowClipboard(workspace, workspace)
	t.do(chromedp.Click(chromedp.CSS("body")))
	return eval[string](t, "focus(), navigator.clipboard.readText()")
}

func TestBrowserInAFrame(t *testing.T) {
	p := newProgram(t)
	release := p.hold(t, "a", asUsual)
	p.start(t, "a")
	browser := newTab(t, look{width: 400, height: 620})
	browser.goTo(framed(workspace, p.pages(t, "a").Card))
	card := browser.frames(1)[0]
	card.untilStatus("pending")
	release()
	card.untilStatus("ready")

	wantTicket(t, browser.copied(card), p.links(t, "a"))

	card.click("#renew")
	card.click("#confirm")
	card.untilText("#note", "The new room is ready")
	p.wantRooms(t, "a", 2)
	card.wantQuiet(p.url)
}

func TestBrowserRefusesOtherFrames(t *testing.T) {
	p := newProgram(t)
	p.ready(t, "a")
	pages := p.pages(t, "a")
	for _, test := range []struct{ parent, address string }{
		{stranger, pages.Card}, {workspace, pages.Customer}, {workspace, p.pages(t, "unknown").Context},
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
