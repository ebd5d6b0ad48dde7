package viewer_test

import (
	"bytes"
	"image/png"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

func TestBrowserCopiesTheCustomerLink(t *testing.T) {
	p := newProgram(t)
	links := p.ready(t, "a")
	browser := newTab(t, look{})
	browser.allowClipboard(p.url, p.url)
	browser.goTo(p.pages(t, "a").Card)
	browser.record()
	browser.click("#copy")
	// The button shows the words, and nothing moves under the pointer.
	below := eval[string](browser, "recorded[0].split(' ').at(-1)")
	browser.untilRecorded(`\| Customer link copied \| Customer link copied \| ` + below + "$")
	wantTicket(t, eval[string](browser, "navigator.clipboard.readText()"), links)
	browser.until("document.querySelector('#copy').innerText === 'Copy customer link'")
	browser.wantQuiet(p.url)
}

// Without access to the clipboard, the card shows the link.
func TestBrowserCannotCopy(t *testing.T) {
	p := newProgram(t)
	links := p.ready(t, "a")
	browser := newTab(t, look{})
	browser.goTo(p.pages(t, "a").Card)
	eval[bool](browser, `Object.defineProperty(navigator, "clipboard", { value: undefined }), document.execCommand = () => false, true`)
	browser.click("#copy")
	browser.untilText("#copied", "press Ctrl+C")
	wantTicket(t, eval[string](browser, "getSelection().toString()"), links)
	browser.wantQuiet(p.url)
}

func TestBrowserShowsAQRCode(t *testing.T) {
	p := newProgram(t)
	links := p.ready(t, "a")
	for _, how := range []look{{scale: 2}, {scale: 2, dark: true}} {
		browser := newTab(t, how)
		browser.goTo(p.pages(t, "a").Card)
		browser.untilStatus("ready")
		if slices.ContainsFunc(browser.asked(), func(request string) bool { return strings.HasSuffix(request, "/qr.svg") }) {
			t.Error("QR code: got a request before the click, want it after")
		}
		browser.click("#qr summary")
		browser.until("document.querySelector('#qr img').complete && document.querySelector('#qr img').naturalWidth > 0")
		picture, err := chromedp.Run(browser.ctx, chromedp.Screenshot(chromedp.CSS("#qr img"), chromedp.NodeVisible))
		if err != nil {
			t.Fatalf("taking a picture: %v", err)
		}
		wantTicket(t, scan(t, picture), links)
		browser.wantQuiet(p.url)
	}
}

// scan reads a QR code from a picture.
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
	// The reader does not find every code in a picture. Then it takes the whole picture for the code.
	for _, hint := range []gozxing.DecodeHintType{gozxing.DecodeHintType_TRY_HARDER, gozxing.DecodeHintType_PURE_BARCODE} {
		var result *gozxing.Result
		result, err = qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{hint: true})
		if err == nil {
			return result.GetText()
		}
	}
	t.Fatalf("scanning a QR code: %v", err)
	return ""
}
