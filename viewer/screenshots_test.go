package viewer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"roomlink/messages"
)

// TestScreenshots makes the pictures of the README, into the folder that
// ROOMLINK_SCREENSHOTS names.
func TestScreenshots(t *testing.T) {
	folder := os.Getenv("ROOMLINK_SCREENSHOTS")
	if folder == "" {
		t.Skip("ROOMLINK_SCREENSHOTS names no folder")
	}
	s := newSite(t)
	ends := messages.At(time.Now().Add(3*time.Hour + 58*time.Minute))
	s.start(t, conversation("pending"), 0)
	s.links(t, conversation("ready"), func(l *messages.Links) { l.ExpiresAt = ends })
	s.links(t, conversation("expired"), expired)
	s.fail(t, conversation("failed"), messages.ReasonUnknownOutcome)
	for _, dark := range []bool{false, true} {
		theme := "light"
		if dark {
			theme = "dark"
		}
		for _, id := range []string{"pending", "ready", "expired", "failed", "unknown"} {
			browser := newTab(t, look{width: 320, height: 300, scale: 2, dark: dark, still: true})
			browser.goTo(s.pagesOf(id).Card)
			browser.untilStatus(id)
			browser.until("document.querySelector('time').title || document.querySelector('main').dataset.status !== 'ready'")
			picture, err := chromedp.Run(browser.ctx, chromedp.Screenshot(chromedp.CSS("main")))
			if err != nil {
				t.Fatalf("taking a picture: %v", err)
			}
			name := filepath.Join(folder, fmt.Sprintf("card-%s-%s.png", id, theme))
			if err := os.WriteFile(name, picture, 0o644); err != nil {
				t.Fatalf("writing a picture: %v", err)
			}
		}
	}
}
