package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/messages"
)

// pageNames are the fields of every answer that tells the pages of a conversation.
var pageNames = []string{"contextUrl", "customerUrl", "cardUrl"}

// TestPages has the webhook, the viewer and the operator's command tell the same
// pages of a conversation, though key and address are known to "serve" alone.
func TestPages(t *testing.T) {
	t.Parallel()
	env := programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL)
	env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	delete(env, "ROOMLINK_LINK_KEY")
	base := start(t, env, "serve").Address("public")
	for attempt := 1; ; attempt++ {
		posted := programtest.Post(t, base, "call-1").Fields
		programtest.Ready(t, base, "call-1")
		_, stdout, stderr := command(t, env, "links", "get", "call-1", "--json")
		got := programtest.Ask(t, http.MethodGet, base+"/links/call-1", "").Fields
		if got["cardUrl"] != posted["cardUrl"] && attempt == 1 {
			continue // an hour may have ended meanwhile, with which they change
		}
		var printed map[string]any
		if err := json.Unmarshal([]byte(stdout), &printed); err != nil {
			t.Fatalf("links get: got error %v, want JSON\n%s", err, stderr)
		}
		for _, name := range pageNames {
			if posted[name] == "" || got[name] != posted[name] || printed[name] != posted[name] {
				t.Errorf("%s: got one from the webhook: %v, the same from the viewer: %v and from links get: %v; want all true",
					name, posted[name] != "", got[name] == posted[name], printed[name] == posted[name])
			}
		}
		return
	}
}

// pagesOf returns the addresses of a conversation's pages at a program.
func pagesOf(t *testing.T, base, account, id string) access.Addresses {
	t.Helper()
	keys, err := access.NewKeys(programtest.LinkKey)
	if err != nil {
		t.Fatalf("making keys: %v", err)
	}
	pages := access.Pages{Keys: keys, BaseURL: base, Lifetime: time.Hour}
	return pages.For(messages.Conversation{Account: account, InteractionID: id}, time.Now())
}

// TestRemovedAccountHasNoPages removes an account from the file of "serve", and of "viewer" alone.
func TestRemovedAccountHasNoPages(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it waits for files to be read again")
	a := programtest.StartAuvious(t, simulator.Config{})
	for _, part := range []string{"serve", "viewer"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			env, dir := accountsEnv(t, a, "one", "two")
			if part == "viewer" {
				env["ROOMLINK_NATS_URL"], env["ROOMLINK_REPLICAS"] = startNATS(t), "1"
			}
			p := start(t, env, part)
			base := p.Address("public")
			p.Line(map[string]string{"message": "started"})
			check := func(account string, want int) {
				t.Helper()
				pages := pagesOf(t, base, account, "a")
				for _, address := range []string{pages.Card, pages.Context, pages.Customer, pages.Card + "/state"} {
					if got, _ := programtest.Visit(t, address); got != want {
						t.Errorf("%s: page of account %q: got %d, want %d", part, account, got, want)
					}
				}
			}
			check("one", http.StatusOK)
			check("two", http.StatusOK)
			writeFiles(t, dir, map[string]string{"accounts.yaml": accountsYAML(a, "one")})
			p.Line(map[string]string{"message": "accounts changed"})
			check("one", http.StatusOK)
			check("two", http.StatusNotFound)
		})
	}
}

// TestStreamOverHTTP2 follows a card over roomlink's own TLS for longer than a write may take.
func TestStreamOverHTTP2(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it waits until a stream repeats its state")
	dir := t.TempDir()
	writeFiles(t, dir, selfSigned(t, "rooms.example", time.Now().Add(time.Hour)))
	env := programtest.ServeEnv(t, programtest.StartAuvious(t, simulator.Config{}).URL)
	env["ROOMLINK_TLS_CERT"] = filepath.Join(dir, "cert.pem")
	env["ROOMLINK_TLS_KEY"] = filepath.Join(dir, "key.pem")
	p := start(t, env, "serve")
	base := strings.Replace(p.Address("public"), "http://", "https://", 1)
	p.Line(map[string]string{"message": "started"})
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	address := pagesOf(t, base, "default", "a").Card + "/events"
	request, err := http.NewRequestWithContext(roomlinktest.Context(t), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatalf("following a card: %v", err)
	}
	defer answer.Body.Close()
	events := 0
	for lines := bufio.NewScanner(answer.Body); events < 3 && lines.Scan(); {
		if lines.Text() == "event: state" {
			events++
		}
	}
	if answer.Proto != "HTTP/2.0" || events < 3 {
		t.Errorf("stream: got %d events over %s, want 3 over HTTP/2.0", events, answer.Proto)
	}
}
