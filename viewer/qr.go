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
	// quiet is the white margin of a QR code, in modules, without which a camera
	// does not find it (ISO/IEC 18004).
	quiet = 4
	// dot is how many pixels a module has: whole ones, so that its edges are sharp.
	dot = 4
)

// cardQR answers GET /card/{token}/qr.svg: the customer's link for a camera. It is
// made here, so the link goes nowhere.
func (v *Viewer) cardQR(w http.ResponseWriter, r *http.Request) {
	secure(w, formsNowhere, v.ancestors)
	claims, err := v.cardClaims(r)
	if err != nil {
		web.Fail(w, tokenError(err))
		return
	}
	code, err := qr.Encode(v.customerURL(claims), qr.L, qr.Unicode)
	if err != nil {
		v.log.Error().Err(err).Msg("qr code not made")
		web.Fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = w.Write([]byte(svgOf(code))) // a browser that is gone hears nothing
}

func (v *Viewer) customerURL(claims access.Claims) string {
	return v.config.Pages.For(conversationOf(claims), time.Now()).Customer
}

// qrSide is how wide and high the picture of the customer's link is, so that the
// card has its place ready and nothing moves when it comes; 0 if there is none.
func (v *Viewer) qrSide(claims access.Claims) int {
	code, err := qr.Encode(v.customerURL(claims), qr.L, qr.Unicode)
	if err != nil {
		return 0
	}
	return sideOf(code)
}

func sideOf(code barcode.Barcode) int { return dot * (code.Bounds().Dx() + 2*quiet) }

// svgOf draws a code, black on white whatever is around it, since many a camera
// reads no other.
func svgOf(code barcode.Barcode) string {
	size := code.Bounds().Dx()
	var path strings.Builder
	for y := range size {
		for x := 0; x < size; x++ {
			length := 0
			for x+length < size && dark(code, x+length, y) {
				length++
			}
			if length > 0 {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, length, length)
				x += length
			}
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%[3]d" height="%[3]d" viewBox="0 0 %[1]d %[1]d" `+
		`shape-rendering="crispEdges"><path fill="#fff" d="M0 0h%[1]dv%[1]dH0z"/><path d="%[2]s"/></svg>`,
		size+2*quiet, path.String(), sideOf(code))
}

func dark(code barcode.Barcode, x, y int) bool { return code.At(x, y) == color.Black }
