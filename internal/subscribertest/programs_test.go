package subscribertest_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"roomlink/internal/roomlinktest"
)

// TestPrograms runs each program of the document: it receives links and their renewal, goes on
// where it was killed, and prints no ticket.
func TestPrograms(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it runs programs")
	s := newSite(t)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			c := newClient(t, s, kind, "crm@acme", asItIs)
			id := strings.ToLower(regexp.MustCompile(`\W`).ReplaceAllString(kind, "-"))
			for _, account := range accountNames {
				if got := s.post(account, account+"-"+id); got != http.StatusAccepted {
					t.Fatalf("posting: got %d, want 202", got)
				}
			}
			c.start()
			c.process.AwaitOutput("acme-" + id + " 1")
			if got := s.renew("acme", "acme-"+id); got != http.StatusAccepted {
				t.Fatalf("renewing: got %d, want 202", got)
			}
			c.process.AwaitOutput("acme-" + id + " 2")
			c.kill()
			s.post("acme", "acme-"+id+"-away")
			c.start()
			c.process.AwaitOutput("acme-" + id + "-away 1")
			for _, line := range c.lines() {
				if !strings.HasPrefix(line, "acme-") {
					t.Errorf("printed: got %q, want only conversations of acme", line)
				}
			}
			if printed := strings.Join(c.lines(), "\n") + c.process.Log(); strings.Contains(printed, "http") {
				t.Error("printed: got a URL, want none")
			}
			c.kill()
		})
	}
}

// TestRefusedPrograms runs each program on the place of another account: it says at once that
// it is refused.
func TestRefusedPrograms(t *testing.T) {
	roomlinktest.SkipIfShort(t, "it runs programs")
	s := newSite(t)
	others := strings.NewReplacer(
		`account+"_"+name`, `"globex_"+name`, "(ctx, account, name,", `(ctx, "globex", name,`,
		"${account}_${name}", "globex_${name}", `"${account}_$name"`, `"globex_$name"`)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			c := newClient(t, s, kind, "crm@acme", func(text string) string {
				text = strings.Replace(text, `name, account, _ := strings.Cut(user, "@")`, `name, _, _ := strings.Cut(user, "@")`, 1)
				return others.Replace(text)
			})
			c.start()
			code := c.process.Wait()
			log := strings.ToLower(c.process.Log())
			if code != 1 || !strings.Contains(log, "permissions violation") || !strings.Contains(log, "globex_crm") {
				t.Errorf("refused: got exit code %d and %q, want 1 and the refused subject", code, log)
			}
			if strings.Contains(log, "deadline") || strings.Contains(log, "timeout") {
				t.Errorf("refused: got %q, want no time-out", log)
			}
		})
	}
}
