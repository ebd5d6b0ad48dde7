package viewer

import (
	"fmt"
	"image/color"
	"net/http"
	"strings"
	"time"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"

	"roomlink/internal/access"
	"roomlink/internal/web"
)

const (
	// quietZone is the white margin of a QR code in modules. Without it, a camera does not find the code
	// (ISO/IEC 18004).
	quietZone = 4
	// moduleSize is the size of a module in pixels, a whole number for sharp edges.
	moduleSize = 4
)

// cardQR answers GET /card/{token}/qr.svg with the customer's link as a QR code. It makes the code itself:
// the link is a secret, and no other service may see it.
func (v *Viewer) cardQR(w http.ResponseWriter, r *http.Request) {
	claims, err := v.claims(r, cardPurposes)
	if err != nil {
		v.failPage(w, r, err)
		return
	}
	code, err := qr.Encode(v.customerURL(claims), qr.L, qr.Unicode)
	if err != nil {
		v.log.Error().Err(err).Msg("qr code not made")
		web.Fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = w.Write([]byte(svgOf(code))) // the browser may have gone
}

func (v *Viewer) customerURL(claims access.Claims) string {
	return v.config.Pages.For(conversationOf(claims), time.Now()).Customer
}

// qrSide returns the width and height of the QR code in pixels; 0 without a code. The card keeps a place of
// this size, so nothing moves when the code arrives.
func (v *Viewer) qrSide(claims access.Claims) int {
	code, err := qr.Encode(v.customerURL(claims), qr.L, qr.Unicode)
	if err != nil {
		return 0
	}
	return sideOf(code)
}

func sideOf(code barcode.Barcode) int { return moduleSize * (code.Bounds().Dx() + 2*quietZone) }

// svgOf draws a code in black on white, in every theme: many cameras read nothing else.
func svgOf(code barcode.Barcode) string {
	size := code.Bounds().Dx()
	var path strings.Builder
	for y := range size {
		for x := 0; x < size; x++ {
			length := 0
			for x+length < size && code.At(x+length, y) == color.Black {
				length++
			}
			if length > 0 {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", x+quietZone, y+quietZone, length, length)
				x += length
			}
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[3]d" height="%[3]d" viewBox="0 0 %[1]d %[1]d" `+
		`shape-rendering="crispEdges"><path fill="#fff" d="M0 0h%[1]dv%[1]dH0z"/><path d="%[2]s"/></svg>`,
		size+2*quietZone, path.String(), sideOf(code))
}
