package viewer_test

import (
	"os"
	"testing"

	"roomlink/internal/programtest"
)

// TestBrowserIsAccessible runs axe-core on every state of the card and every page, in both
// themes. ROOMLINK_AXE is the path of axe.min.js from the npm package axe-core.
func TestBrowserIsAccessible(t *testing.T) {
	file := os.Getenv("ROOMLINK_AXE")
	if file == "" {
		programtest.Skipf(t, "ROOMLINK_AXE is not set")
	}
	axe, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("reading axe-core: %v", err)
	}
	p := newProgram(t)
	p.statuses(t)
	cards, pages := map[string]string{}, map[string]string{"bad link": p.url + "/open/x", "agent": p.pages(t, "pending").Context}
	for _, id := range []string{"pending", "ready", "expired", "failed", "unknown", "renewing", "renewal failed"} {
		addresses := p.pages(t, id)
		cards["card "+id], pages["customer "+id] = addresses.Card, addresses.Customer
	}
	for _, how := range []look{{width: 320, height: 640}, {width: 480, height: 640, dark: true}} {
		browser := newTab(t, how)
		for what, address := range cards {
			browser.inspect(string(axe), what, address)
		}
		browser.inspect(string(axe), "card with its question and its QR code", cards["card ready"], "#renew", "#qr summary")
		browser = newTab(t, how)
		for what, address := range pages {
			browser.inspect(string(axe), what, address)
		}
	}
}

// inspect runs axe-core on a page after some clicks.
func (t *tab) inspect(axe, what, address string, clicks ...string) {
	t.tb.Helper()
	t.goTo(address)
	t.until("document.querySelector('main')?.dataset.status")
	for _, selector := range clicks {
		t.click(selector)
	}
	eval[bool](t, axe+"; true")
	found := eval[findings](t, axeRun)
	if found.Passes < 10 {
		t.tb.Errorf("%s: got %d passed rules, want 10 or more", what, found.Passes)
	}
	for _, violation := range found.Violations {
		t.tb.Errorf("%s (dark: %v): got %s, want nothing", what, eval[bool](t, "matchMedia('(prefers-color-scheme: dark)').matches"), violation)
	}
}

// findings are the findings of axe-core on a page.
type findings struct {
	Passes     int      `json:"passes"`
	Violations []string `json:"violations"`
}

// axeRun returns the findings.
const axeRun = `axe.run().then(({ passes, violations }) => ({
	passes: passes.length,
	violations: violations.map(({ id, help, nodes }) => id + " (" + help + ") at " + nodes.map((node) => node.html).join(", ")),
}))`
