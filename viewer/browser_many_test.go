package viewer_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/messages"
)

const (
	// manyPages is more than the connections that a browser opens to a server over HTTP/1.1.
	manyPages = 12
	// sharedStreams is how many streams the pages that see each other may have. live.js has the same number.
	sharedStreams = 2

	// maxLoad and maxDelay bound the time that a page takes to load, and to show a new state. On a busy machine,
	// where one page alone takes longer, the bounds grow.
	maxLoad  = 2 * time.Second
	maxDelay = 5 * time.Second
	// maxMeasurements is how often a measurement is repeated on a machine that is busy at times.
	maxMeasurements = 3
)

// streamCount counts the open event streams of a server.
type streamCount struct {
	mu        sync.Mutex
	now, most int
	changed   chan struct{}
}

// countStreams makes a site count its streams.
func countStreams(s *site) *streamCount {
	count := &streamCount{changed: make(chan struct{})}
	s.wrap = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/events") {
				count.add(1)
				defer count.add(-1)
			}
			next.ServeHTTP(w, r)
		})
	}
	return count
}

func (c *streamCount) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
	close(c.changed)
	c.changed = make(chan struct{})
}

// until waits for a number of open streams.
func (c *streamCount) until(tb testing.TB, want int) {
	tb.Helper()
	for {
		c.mu.Lock()
		now, changed := c.now, c.changed
		c.mu.Unlock()
		if now == want {
			return
		}
		roomlinktest.Receive(tb, changed, fmt.Sprintf("%d open streams instead of %d", want, now))
	}
}

// wantAtMost checks the largest number of streams that were open at the same time.
func (c *streamCount) wantAtMost(tb testing.TB, want int) {
	tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most > want {
		tb.Errorf("event streams: got %d at the same time, want at most %d", c.most, want)
	}
}

// watching is a script that keeps when the card first shows each link to a room.
const watching = `(() => {
	const main = document.querySelector("main");
	window.shownAt = {};
	const keep = () => { shownAt[document.querySelector("#join").href] ??= Date.now(); };
	new MutationObserver(keep).observe(main, { attributes: true, subtree: true });
	return true;
})()`

// loadTime is the time in milliseconds from the beginning of a page until it runs its scripts.
const loadTime = `(() => {
	const { responseEnd, domContentLoadedEventEnd } = performance.getEntriesByType("navigation")[0];
	return responseEnd > 0 ? performance.timeOrigin + domContentLoadedEventEnd : 0;
})()`

// pageGroup is some pages of one browser, which show cards.
type pageGroup struct {
	// ids are the conversations of the cards, one for each page.
	ids []string
	// open opens the pages and returns them, and when the browser began to load each.
	open func(t *testing.T, cards []string) (pages []*tab, began []float64)
	// maxStreams bounds the streams of all pages together.
	maxStreams int
}

// Twelve pages of one browser load and follow their conversations over HTTP/1.1, where the browser has six
// connections.
func TestBrowserShowsManyCards(t *testing.T) {
	var different, same []string
	for i := range manyPages {
		different = append(different, fmt.Sprintf("card %d", i))
		same = append(same, "one card")
	}
	framesIn := func(sandbox string) func(*testing.T, []string) ([]*tab, []float64) {
		return func(t *testing.T, cards []string) ([]*tab, []float64) {
			return openFrames(t, sandboxed(workspace, sandbox, cards...), len(cards))
		}
	}
	for name, group := range map[string]pageGroup{
		"tabs of different cards": {different, openTabs, sharedStreams},
		"tabs of one card":        {same, openTabs, 1},
		"frames":                  {different, framesIn("allow-scripts allow-same-origin"), sharedStreams},
		"opaque frames":           {different, framesIn("allow-scripts"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			var count *streamCount
			s := newSite(t, func(s *site) { count = countStreams(s) })
			one := group
			one.ids = group.ids[:1]
			var alone, load, delay time.Duration
			t.Run("alone", func(t *testing.T) { _, alone = one.load(t, s, "alone") })
			for attempt := range maxMeasurements {
				name := strconv.Itoa(attempt)
				t.Run(name, func(t *testing.T) {
					var pages []*tab
					pages, load = group.load(t, s, name)
					delay = group.update(t, s, name, pages)
				})
				count.until(t, 0)
				count.wantAtMost(t, group.maxStreams)
				t.Logf("each page loaded within %v, and showed a new state within %v; one page alone loaded within %v",
					load, delay, alone)
				if busy := manyPages * alone; t.Failed() || load <= max(maxLoad, busy) && delay <= max(maxDelay, maxDelay-maxLoad+busy) {
					return
				}
			}
			t.Errorf("got a load of %v and a new state after %v, want %v and %v", load, delay, maxLoad, maxDelay)
		})
	}
}

// conversations returns the conversations of a measurement, each once.
func (g pageGroup) conversations(name string) (all []messages.Conversation) {
	for _, id := range slices.Compact(slices.Clone(g.ids)) {
		all = append(all, roomlinktest.Conversation(id+", "+name))
	}
	return all
}

// load opens the pages while their rooms are on the way. It returns the longest time that a page took.
func (g pageGroup) load(t *testing.T, s *site, name string) (pages []*tab, longest time.Duration) {
	t.Helper()
	for _, conversation := range g.conversations(name) {
		s.start(t, conversation, 0)
	}
	var cards []string
	for _, id := range g.ids {
		cards = append(cards, s.pagesOf(id+", "+name).Card)
	}
	pages, began := g.open(t, cards)
	for i, page := range pages {
		page.untilStatus("pending")
		page.until("!document.querySelector('#copy').hidden") // the script runs
		took := eval[float64](page, loadTime) - began[i]
		longest = max(longest, time.Duration(took)*time.Millisecond)
		eval[bool](page, watching)
	}
	return pages, longest
}

// update makes the rooms of the pages, and renews them. It returns the longest time until a page showed a room.
func (g pageGroup) update(t *testing.T, s *site, name string, pages []*tab) (longest time.Duration) {
	t.Helper()
	for _, generation := range []string{"1", "2"} {
		room := "https://video.example/agent/" + generation
		setRoom := func(l *messages.Links) { l.AgentURL = room }
		made := float64(time.Now().UnixMilli())
		for _, conversation := range g.conversations(name) {
			if generation == "1" {
				s.links(t, conversation, setRoom)
			} else {
				s.renewed(t, conversation, setRoom)
			}
		}
		for _, page := range pages {
			page.until(fmt.Sprintf("shownAt[%q]", room))
			took := eval[float64](page, fmt.Sprintf("shownAt[%q]", room)) - made
			longest = max(longest, time.Duration(took)*time.Millisecond)
		}
	}
	return longest
}

// openTabs opens each card in a tab of the same browser.
func openTabs(t *testing.T, cards []string) (tabs []*tab, began []float64) {
	t.Helper()
	first := newTab(t, look{})
	for i, card := range cards {
		tab := first
		if i > 0 {
			tab = first.neighbour(look{})
		}
		tab.goTo(card)
		tabs, began = append(tabs, tab), append(began, eval[float64](tab, "performance.timeOrigin"))
	}
	return tabs, began
}

// openFrames opens a page with frames that show cards.
func openFrames(t *testing.T, address string, count int) (frames []*tab, began []float64) {
	t.Helper()
	around := newTab(t, look{width: 1000, height: 600})
	around.goTo(address)
	return around.frames(count), slices.Repeat([]float64{eval[float64](around, "performance.timeOrigin")}, count)
}

// setHidden makes the page believe that its tab is in the background. A headless browser shows all its tabs.
func (t *tab) setHidden(hidden bool) {
	t.tb.Helper()
	eval[bool](t, fmt.Sprintf(`Object.defineProperty(document, "hidden", { configurable: true, value: %v }),
		document.dispatchEvent(new Event("visibilitychange"))`, hidden))
}

// A hidden page holds no stream, and another page takes it over. A page that is shown again catches up.
func TestBrowserHidesAPage(t *testing.T) {
	var count *streamCount
	s := newSite(t, func(s *site) { count = countStreams(s) })
	s.start(t, roomlinktest.Conversation("a"), 0)
	first := newTab(t, look{})
	first.goTo(s.pagesOf("a").Card)
	first.untilStatus("pending")
	count.until(t, 1)
	second := first.neighbour(look{})
	second.goTo(s.pagesOf("a").Card)
	second.untilStatus("pending")
	first.setHidden(true)
	second.setHidden(true)
	count.until(t, 0)
	s.links(t, roomlinktest.Conversation("a"))
	second.setHidden(false)
	second.untilStatus("ready")
	count.until(t, 1)
	first.setHidden(false)
	first.untilStatus("ready")
	for _, tab := range []*tab{first, second} {
		if got := tab.text("#lost"); got != "" {
			t.Errorf("after it was hidden: got %q, want nothing about the connection", got)
		}
		tab.wantQuiet(s.url)
	}
	count.wantAtMost(t, 1)
}
