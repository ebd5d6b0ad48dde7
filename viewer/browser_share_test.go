package viewer_test

import (
	"bytes"
	"image"
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
	// The reader does not find every code in every position.
	for range 4 {
		var bitmap *gozxing.BinaryBitmap
		if bitmap, err = gozxing.NewBinaryBitmapFromImage(img); err != nil {
			t.Fatalf("reading a picture: %v", err)
		}
		var result *gozxing.Result
		hints := map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_TRY_HARDER: true}
		if result, err = qrcode.NewQRCodeReader().Decode(bitmap, hints); err == nil {
			return result.GetText()
		}
		img = turned(img)
	}
	t.Fatalf("scanning a QR code: %v", err)
	return ""
}

// turned returns a picture turned by a right angle.
func turned(picture image.Image) image.Image {
	bounds := picture.Bounds()
	result := image.NewRGBA(image.Rect(0, 0, bounds.Dy(), bounds.Dx()))
	for x := range bounds.Dx() {
		for y := range bounds.Dy() {
			result.Set(bounds.Dy()-1-y, x, picture.At(bounds.Min.X+x, bounds.Min.Y+y))
		}
	}
	return result
}
