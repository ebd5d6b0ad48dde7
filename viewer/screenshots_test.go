package viewer_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestScreenshots writes the pictures of the README to the folder in ROOMLINK_SCREENSHOTS:
// five states of the card in both themes.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("ROOMLINK_SCREENSHOTS")
	if folder == "" {
		t.Skip("ROOMLINK_SCREENSHOTS is not set")
	}
	p := newProgram(t)
	cards := map[string]string{"pending": "5f3a", "ready": "6b1c", "expired": "7d2e", "failed": "8e4f", "unknown": "9a7b"}
	p.hold(t, cards["pending"], asUsual)
	p.start(t, cards["pending"])
	p.says(cards["failed"], refusal)
	p.start(t, cards["failed"])
	for _, status := range []string{"ready", "expired"} {
		p.says(cards[status], made(t, invented))
	}
	p.start(t, cards["ready"])
	p.act(t, cards["expired"], 1)
	for _, status := range []string{"failed", "ready", "expired"} {
		p.until(t, cards[status], status)
	}
	noon := fmt.Sprintf("Etc/GMT%+d", time.Now().UTC().Hour()-12) // the time zone in which it is noon: the ticket expires on the same day
	columns := [][]string{{"pending", "unknown"}, {"ready"}, {"expired", "failed"}}
	for _, theme := range []struct {
		name string
		dark bool
		back color.Gray
	}{{"light", false, color.Gray{Y: 228}}, {"dark", true, color.Gray{Y: 6}}} {
		how := look{width: 320, height: 400, scale: 2, dark: theme.dark, still: true, zone: noon}
		var pictures [][]image.Image
		for _, statuses := range columns {
			var column []image.Image
			for _, status := range statuses {
				column = append(column, p.picture(t, cards[status], status, how))
			}
			pictures = append(pictures, column)
		}
		var file bytes.Buffer
		encoder := png.Encoder{CompressionLevel: png.BestCompression}
		if err := encoder.Encode(&file, reduced(sheet(pictures, theme.back))); err != nil {
			t.Fatalf("encoding a picture: %v", err)
		}
		if err := os.WriteFile(filepath.Join(folder, "cards-"+theme.name+".png"), file.Bytes(), 0o644); err != nil {
			t.Fatalf("writing a picture: %v", err)
		}
	}
}

// picture returns a picture of a card that shows a status.
func (p *program) picture(t *testing.T, id, status string, how look) image.Image {
	t.Helper()
	browser := newTab(t, how)
	browser.goTo(p.pages(t, id).Card)
	browser.untilStatus(status)
	switch status {
	case "pending":
		browser.untilText("#waited", "s")
	case "ready":
		browser.untilText("#until", "at")
	}
	taken, err := chromedp.Run(browser.ctx, chromedp.Screenshot(chromedp.CSS("main")))
	if err != nil {
		t.Fatalf("taking a picture: %v", err)
	}
	img, err := png.Decode(bytes.NewReader(taken))
	if err != nil {
		t.Fatalf("decoding a picture: %v", err)
	}
	return img
}

// reduced returns a smaller picture of the 256 most frequent colours.
func reduced(whole *image.RGBA) image.Image {
	counts := map[color.Color]int{}
	for y := range whole.Bounds().Dy() {
		for x := range whole.Bounds().Dx() {
			counts[whole.At(x, y)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(counts), func(a, b color.Color) int { return counts[b] - counts[a] })
	few := image.NewPaletted(whole.Bounds(), colors[:min(len(colors), 256)])
	nearest := map[color.Color]uint8{}
	for c := range counts {
		nearest[c] = uint8(few.Palette.Index(c))
	}
	for y := range whole.Bounds().Dy() {
		for x := range whole.Bounds().Dx() {
			few.SetColorIndex(x, y, nearest[whole.At(x, y)])
		}
	}
	return few
}

// sheet arranges columns of pictures.
func sheet(columns [][]image.Image, back color.Color) *image.RGBA {
	const gap = 28
	size := image.Pt(gap, 0)
	for _, column := range columns {
		height, width := gap, 0
		for _, img := range column {
			height += img.Bounds().Dy() + gap
			width = max(width, img.Bounds().Dx())
		}
		size = image.Pt(size.X+width+gap, max(size.Y, height))
	}
	whole := image.NewRGBA(image.Rectangle{Max: size})
	draw.Draw(whole, whole.Bounds(), image.NewUniform(back), image.Point{}, draw.Src)
	x := gap
	for _, column := range columns {
		y, width := gap, 0
		for _, img := range column {
			draw.Draw(whole, img.Bounds().Sub(img.Bounds().Min).Add(image.Pt(x, y)), img, img.Bounds().Min, draw.Src)
			y += img.Bounds().Dy() + gap
			width = max(width, img.Bounds().Dx())
		}
		x += width + gap
	}
	return whole
}
