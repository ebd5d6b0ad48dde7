package viewer_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
)

// The sites that show the card in a frame. Chromium resolves them to a server of the test.
const (
	workspace = "https://acme.mytalkdesk.com"
	stranger  = "https://stranger.example"
)

// chromium is the browser of all tests. Each test has its own tabs.
var chromium struct {
	once sync.Once
	*process
	err error
}

// process is a running browser, and the server of the sites with frames.
type process struct {
	ctx   context.Context
	stop  context.CancelFunc
	frame frames
}

func TestMain(m *testing.M) {
	code := programtest.Main(m)
	if chromium.process != nil {
		chromium.stop()
	}
	os.Exit(code)
}

// startChromium starts the browser. It skips the test if there is no browser, except in CI.
func startChromium(tb testing.TB) {
	tb.Helper()
	roomlinktest.SkipIfShort(tb, "it starts a browser")
	path, err := exec.LookPath("chromium")
	if err != nil {
		programtest.Skipf(tb, "there is no chromium: %v", err)
	}
	chromium.once.Do(func() { chromium.process, chromium.err = launch(path) })
	if chromium.err != nil {
		tb.Fatalf("starting %s: %v", path, chromium.err)
	}
}

// launch starts the browser and the server of the sites with frames.
func launch(path string) (*process, error) {
	p := &process{}
	p.frame.start()
	around, stop := chromedp.NewExecAllocator(context.Background(), append(
		chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors,
		chromedp.Flag("lang", "en-GB"),
		chromedp.Flag("host-resolver-rules", fmt.Sprintf("MAP acme.mytalkdesk.com:443 %[1]s, MAP stranger.example:443 %[1]s",
			p.frame.server.Listener.Addr())),
	)...)
	p.ctx, _ = chromedp.NewContext(around)
	p.stop = func() {
		_ = chromedp.Cancel(p.ctx)
		stop()
		p.frame.server.Close()
	}
	return p, chromedp.Do(p.ctx)
}

// tab is a tab of the browser, with its own permissions and storage.
type tab struct {
	tb  testing.TB
	ctx context.Context

	mu       sync.Mutex
	messages []string
	requests []string
	// heard is closed and replaced at every event.
	heard chan struct{}
}

// look describes the display and settings of a tab.
type look struct {
	width, height int64
	scale         float64
	dark          bool
	still         bool
	scriptless    bool
	zone          string
}

// newTab opens a tab with its own storage.
func newTab(tb testing.TB, how look) *tab {
	tb.Helper()
	startChromium(tb)
	return openTab(tb, how, chromedp.WithNewBrowserContext())
}

// neighbour opens another tab with the storage of this one.
func (t *tab) neighbour(how look) *tab {
	t.tb.Helper()
	return openTab(t.tb, how, chromedp.WithExistingBrowserContext(chromedp.FromContext(t.ctx).BrowserContextID))
}

func openTab(tb testing.TB, how look, option chromedp.ContextOption) *tab {
	tb.Helper()
	ctx, cancel := chromedp.NewContext(chromium.ctx, option)
	t := &tab{tb: tb, ctx: ctx, heard: make(chan struct{})}
	if err := chromedp.Do(ctx); err != nil {
		tb.Fatalf("opening a tab: %v", err)
	}
	limit, end := context.WithTimeout(ctx, roomlinktest.Timeout)
	t.ctx = limit
	tb.Cleanup(func() {
		end()
		cancel()
	})
	if err := chromedp.Listen(t.ctx, t.hear); err != nil {
		tb.Fatalf("listening to a tab: %v", err)
	}
	t.see(how)
	return t
}

// see sets the display and settings of the tab.
func (t *tab) see(how look) {
	t.tb.Helper()
	if how.width == 0 {
		how.width, how.height = 360, 640
	}
	if how.scale == 0 {
		how.scale = 1
	}
	scheme, motion := "light", "no-preference"
	if how.dark {
		scheme = "dark"
	}
	if how.still {
		motion = "reduce"
	}
	t.do(
		chromedp.EmulateViewport(how.width, how.height, chromedp.EmulateScale(how.scale)),
		chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{
					{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion},
				},
			})
			return err
		}),
		chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled,
				emulation.SetScriptExecutionDisabledParams{Value: how.scriptless})
			return err
		}),
		chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
			_, err := chromedp.Call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: how.zone})
			return err
		}),
	)
}

// hear records the console messages and the requests of a page.
func (t *tab) hear(event any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.heard)
	t.heard = make(chan struct{})
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		t.messages = append(t.messages, fmt.Sprintf("console.%s", e.Type))
	case *runtime.EventExceptionThrown:
		t.messages = append(t.messages, (&chromedp.ExceptionError{ExceptionDetails: e.ExceptionDetails}).Error())
	case *log.EventEntryAdded:
		t.messages = append(t.messages, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *network.EventRequestWillBeSent:
		t.requests = append(t.requests, e.Request.URL)
	}
}

// do runs actions.
func (t *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	t.tb.Helper()
	if err := chromedp.Do(t.ctx, actions...); err != nil {
		t.tb.Fatalf("in the browser: %v", err)
	}
}

func (t *tab) goTo(address string) {
	t.tb.Helper()
	t.do(chromedp.Navigate(address))
}

// eval returns the value of a script.
func eval[T any](t *tab, script string) T {
	t.tb.Helper()
	value, err := chromedp.Run(t.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		t.tb.Fatalf("evaluating %s: %v", script, err)
	}
	return value
}

// until waits for a condition. The page may change meanwhile.
func (t *tab) until(condition string) {
	t.tb.Helper()
	var err error
	for t.ctx.Err() == nil {
		if err = chromedp.Do(t.ctx, chromedp.Poll[chromedp.Void]("!!("+condition+")")); err == nil {
			return
		}
	}
	page, _ := chromedp.Run(context.WithoutCancel(t.ctx), chromedp.Evaluate[string](`document.body.innerText`))
	t.tb.Fatalf("waiting for %s: got none on a page with the text\n%s\nand error %v", condition, page, err)
}

// untilStatus waits until the card shows a status.
func (t *tab) untilStatus(status string) {
	t.tb.Helper()
	t.until(fmt.Sprintf("document.querySelector('main')?.dataset.status === %q", status))
}

// untilText waits until an element contains a text.
func (t *tab) untilText(selector, text string) {
	t.tb.Helper()
	t.until(fmt.Sprintf("document.querySelector(%q)?.innerText.includes(%q)", selector, text))
}

// click clicks an element of a page that has loaded. A page that still loads may replace the element.
func (t *tab) click(selector string) {
	t.tb.Helper()
	t.until("document.readyState === 'complete'")
	t.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

func (t *tab) text(selector string) string {
	t.tb.Helper()
	return eval[string](t, fmt.Sprintf("document.querySelector(%q).innerText", selector))
}

// shown returns the selectors of visible elements.
func (t *tab) shown(selectors ...string) []string {
	t.tb.Helper()
	var visible []string
	for _, selector := range selectors {
		if eval[bool](t, fmt.Sprintf("document.querySelector(%q)?.checkVisibility() ?? false", selector)) {
			visible = append(visible, selector)
		}
	}
	return visible
}

// focused returns the id or the tag of the focused element.
func (t *tab) focused() string {
	t.tb.Helper()
	return eval[string](t, "document.activeElement.id || document.activeElement.tagName")
}

// allowClipboard grants the clipboard to the pages of an origin, and to an origin embedded
// in them.
func (t *tab) allowClipboard(origin, embedded string) {
	t.tb.Helper()
	for _, name := range []string{"clipboard-read", "clipboard-write"} {
		_, err := chromedp.CallBrowser(t.ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted,
			Origin: origin, EmbeddedOrigin: embedded,
			BrowserContextID: chromedp.FromContext(t.ctx).BrowserContextID,
		})
		if err != nil {
			t.tb.Fatalf("allowing %s: %v", name, err)
		}
	}
}

// wantQuiet checks that the page logged nothing to the console and made requests only to
// these origins.
func (t *tab) wantQuiet(origins ...string) {
	t.tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, message := range t.messages {
		t.tb.Errorf("console: got %q, want nothing", message)
	}
	if len(t.requests) == 0 {
		t.tb.Error("requests: got none, want those of the page")
	}
	for _, request := range t.requests {
		known := false
		for _, origin := range origins {
			known = known || request == origin || strings.HasPrefix(request, origin+"/")
		}
		if !known {
			t.tb.Errorf("request: got one to %s, want them to %q alone", request, origins)
		}
	}
}

// asked returns the addresses of the page's requests.
func (t *tab) asked() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.requests)
}

// untilMessage waits for a message on the console.
func (t *tab) untilMessage(text string) {
	t.tb.Helper()
	for {
		t.mu.Lock()
		said := slices.ContainsFunc(t.messages, func(message string) bool { return strings.Contains(message, text) })
		heard := t.heard
		t.mu.Unlock()
		if said {
			return
		}
		select {
		case <-heard:
		case <-t.ctx.Done():
			t.tb.Fatalf("waiting for the message %q: got %q", text, t.messages)
		}
	}
}

// forget makes wantQuiet ignore the messages so far.
func (t *tab) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages = nil
}
