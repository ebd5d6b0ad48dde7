package viewer_test

import (
	"os"
	"testing"

	"roomlink/internal/programtest"
)

// TestBrowserIsAccessible has axe-core look at every state of the card and every
// page, in both themes. ROOMLINK_AXE names its axe.min.js, from the package
// axe-core of npm.
func TestBrowserIsAccessible(t *testing.T) {
	file := os.Getenv("ROOMLINK_AXE")
	if file == "" {
		programtest.Absentf(t, "ROOMLINK_AXE names no axe.min.js")
	}
	axe, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("reading axe-core: %v", err)
	}
	p := newProgram(t)
	p.statuses(t)
	for _, how := range []look{{width: 320, height: 640}, {width: 480, height: 640, dark: true}} {
		browser := newTab(t, how)
		inspect := func(what, address string, clicks ...string) {
			t.Helper()
			browser.goTo(address)
			browser.until("document.querySelector('main')?.dataset.status")
			for _, selector := range clicks {
				browser.click(selector)
			}
			eval[bool](browser, string(axe)+"; true")
			found := eval[findings](browser, axeRun)
			if found.Passes < 10 {
				t.Errorf("%s: got %d rules that pass, want 10 or more: it does not look", what, found.Passes)
			}
			for _, violation := range found.Violations {
				t.Errorf("%s (dark: %v): got %s, want nothing", what, how.dark, violation)
			}
		}
		for _, id := range []string{"pending", "ready", "expired", "failed", "unknown", "renewing", "renewal failed"} {
			inspect("card "+id, p.pages(t, id).Card)
			inspect("customer "+id, p.pages(t, id).Customer)
		}
		inspect("card with its question and its QR code", p.pages(t, "ready").Card, "#renew", "#qr summary")
		inspect("agent", p.pages(t, "pending").Context)
		inspect("bad link", p.url+"/open/x")
	}
}

// findings are what axe-core has to say of a page.
type findings struct {
	Passes     int      `json:"passes"`
	Violations []string `json:"violations"`
}

// axeRun has it say so.
const axeRun = `axe.run().then(({ passes, violations }) => ({
	passes: passes.length,
	violations: violations.map(({ id, help, nodes }) => id + " (" + help + ") at " + nodes.map((node) => node.html).join(", ")),
}))`
