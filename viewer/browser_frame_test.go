package viewer_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

var _ http.Handler = (*frames)(nil)

// frames is a site that shows another site in a frame, like Talkdesk's Workspace.
type frames struct{ server *httptest.Server }

func (f *frames) start() { f.server = httptest.NewTLSServer(f) }

// ServeHTTP answers with a page that shows the address in ?card= in a frame.
func (f *frames) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Workspace</title><link rel="icon" href="data:,">
<style>body{margin:0}iframe{border:0;width:100%%;height:600px}</style><iframe src="%s" title="Card"></iframe>`,
		html.EscapeString(r.URL.Query().Get("card")))
}

// framed returns the address of a page that shows an address in a frame.
func framed(parent, address string) string { return parent + "/?card=" + url.QueryEscape(address) }

// frame returns the document in the frame of a page.
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
	p := newProgram(t)
	release := p.hold(t, "a", asUsual)
	p.start(t, "a")
	browser := newTab(t, look{width: 400, height: 620})
	browser.goTo(framed(workspace, p.pages(t, "a").Card))
	card := browser.frame(p.url)
	card.untilStatus("pending")
	release()
	card.untilStatus("ready")

	// In this frame the browser blocks the clipboard API, but not execCommand.
	card.record()
	card.click("#copy")
	card.untilRecorded("Customer link copied")
	browser.allowClipboard(workspace, workspace)
	browser.do(chromedp.Click(chromedp.CSS("body")))
	wantTicket(t, eval[string](browser, "focus(), navigator.clipboard.readText()"), p.links(t, "a"))

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
