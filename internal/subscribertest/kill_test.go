package subscribertest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"roomlink/internal/roomlinktest"
)

// ackDelay is longer than the broker takes to write acknowledgements to the disk.
const ackDelay = 1200 * time.Millisecond

// traffic posts conversations of every account, and renews some.
type traffic struct {
	site *site
	stop func()

	mu sync.Mutex
	// want has the newest generation of each conversation that the server took, by account.
	want map[string]map[string]int
}

// startTraffic posts at a rate for each account until stop, which waits.
func startTraffic(t *testing.T, s *site, perSecond float64) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	m := &traffic{site: s, want: map[string]map[string]int{}}
	var group sync.WaitGroup
	for _, account := range accountNames {
		m.want[account] = map[string]int{}
		limiter := rate.NewLimiter(rate.Limit(perSecond), 1)
		for worker := range 8 { // a post may take as long as the server is away
			group.Go(func() {
				for i := 0; limiter.Wait(ctx) == nil; i++ {
					m.converse(account, fmt.Sprintf("%s-%d-%d", account, worker, i), i%5 == 4)
				}
			})
		}
	}
	m.stop = sync.OnceFunc(func() {
		cancel()
		group.Wait()
	})
	t.Cleanup(m.stop)
	return m
}

// converse posts a conversation, and renews it if asked.
func (m *traffic) converse(account, id string, renews bool) {
	if m.site.post(account, id) != http.StatusAccepted {
		return
	}
	m.expect(account, id, 1)
	if !renews {
		return
	}
	// There is nothing to renew before the first links.
	m.site.call(account, http.MethodGet, "/links/"+id+"?wait=5s", "")
	if m.site.renew(account, id) == http.StatusAccepted {
		m.expect(account, id, 2)
	}
}

func (m *traffic) expect(account, id string, generation int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.want[account][id] = generation
}

// missing returns how many conversations of an account lack their newest links.
func (m *traffic) missing(account string, lines []string) (count int) {
	printed := map[string]bool{}
	for _, line := range lines {
		printed[line] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, generation := range m.want[account] {
		if !printed[fmt.Sprintf("%s %d", id, generation)] {
			count++
		}
	}
	return count
}

// more waits until a client has printed more lines.
func (c *client) more(t *testing.T, count int) {
	t.Helper()
	ctx := roomlinktest.Context(t)
	for want := len(c.lines()) + count; len(c.lines()) < want; {
		select {
		case <-ctx.Done():
			t.Fatalf("lines: got %d, want %d", len(c.lines()), want)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// settlement is what clients had acknowledged well before a kill of the server.
type settlement struct {
	client *client
	lines  map[string]bool
	// from is the number of lines at the kill.
	from int
}

// killServer kills and starts the server under load, and returns what must not come again.
func killServer(s *site, clients ...*client) (all []settlement) {
	for _, c := range clients {
		c.exemptLeftovers()
		lines := c.lines()
		settled := settlement{client: c, lines: map[string]bool{}, from: len(lines)}
		for _, line := range lines {
			settled.lines[line] = !c.exempted[line]
		}
		all = append(all, settled)
	}
	<-time.After(ackDelay) // the promise is about the second before the kill
	s.program.Kill()
	for i, c := range clients {
		lines := c.lines()
		c.exempt(lines[all[i].from:])
		all[i].from = len(lines)
	}
	s.start()
	return all
}

// wantNothingAgain checks that no settled line came again.
func (s settlement) wantNothingAgain(t *testing.T) {
	t.Helper()
	for _, line := range s.client.lines()[s.from:] {
		if s.lines[line] {
			t.Errorf("%s: after a kill of the server: got %q again", s.client.kind, line)
		}
	}
}

// wantEverything waits until a client has printed the newest links of every conversation of
// its account, and checks that it printed nothing of another.
func (m *traffic) wantEverything(ctx context.Context, t *testing.T, account string, c *client) {
	t.Helper()
	for m.missing(account, c.lines()) > 0 {
		select {
		case <-ctx.Done():
			t.Errorf("conversations of %q without their newest links: got %d of %d, want none\n%s",
				account, m.missing(account, c.lines()), len(m.want[account]), c.process.Log())
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	for _, line := range c.lines() {
		if !strings.HasPrefix(line, account+"-") {
			t.Errorf("printed: got %q, want only conversations of %q", line, account)
		}
	}
}

// TestKilled kills the server and each client under load.
func TestKilled(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it kills programs")
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t)
			c := newClient(t, s, kind, "crm@acme", asItIs)
			c.start()
			load := startTraffic(t, s, 25)
			var settled []settlement
			for range rounds {
				c.more(t, 30)
				c.kill()
				c.start()
				c.more(t, 30)
				settled = append(settled, killServer(s, c)...)
			}
			c.more(t, 30)
			load.stop()
			load.wantEverything(roomlinktest.Context(t), t, "acme", c)
			for _, one := range settled {
				one.wantNothingAgain(t)
			}
			t.Logf("%d conversations, %d lines", len(load.want["acme"]), len(c.lines()))
			c.kill()
		})
	}
}
