package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/messages"
)

// revocation is a running "serve" whose links a test revokes.
type revocation struct {
	env     map[string]string
	auvious programtest.Auvious
	program *programtest.Program
	base    string
}

func newRevocation(t *testing.T) revocation {
	t.Helper()
	a := programtest.StartAuvious(t, simulator.Config{})
	env := programtest.ServeEnv(t, a.URL)
	env["ROOMLINK_BROKER_LISTEN"] = programtest.FreeAddress(t)
	env["ROOMLINK_DUPLICATE_WINDOW"] = "100ms"
	p := start(t, env, "serve")
	return revocation{env, a, p, p.Address("public")}
}

// run runs "roomlink links" with arguments. Its output has no ticket unless a test renews.
func (r revocation) run(t *testing.T, wantCode int, args ...string) string {
	t.Helper()
	code, stdout, stderr := command(t, r.env, append([]string{"links"}, args...)...)
	if code != wantCode {
		t.Fatalf("links %q: got exit code %d, want %d\n%s", args, code, wantCode, stderr)
	}
	return stdout + stderr
}

// wantStatus checks the status of a conversation, and that its URLs are there only if it is
// ready.
func (r revocation) wantStatus(t *testing.T, id, want string) map[string]string {
	t.Helper()
	got := programtest.Ask(t, http.MethodGet, r.base+"/links/"+id, "").Fields
	if got["status"] != want {
		t.Fatalf("status of %q: got %q, want %q", id, got["status"], want)
	}
	for _, name := range []string{"agentUrl", "ticketUrl"} {
		if (got[name] != "") != (want == "ready") {
			t.Errorf("%s of %q at status %q: got one: %t", name, id, want, got[name] != "")
		}
	}
	return got
}

// wantPages checks the status of the agent's link, the customer's page, the card and a click on
// Join.
func wantPages(t *testing.T, pages map[string]string, want ...int) {
	t.Helper()
	var got []int
	for _, name := range []string{"contextUrl", "customerUrl", "cardUrl"} {
		status, body := programtest.Visit(t, pages[name])
		if status == http.StatusGone && !strings.Contains(body, "revoked</h1>") {
			t.Errorf("%s: got a page without the word revoked:\n%s", name, body)
		}
		got = append(got, status)
	}
	got = append(got, postTo(t, http.DefaultTransport, pages["customerUrl"], nil, "").Status)
	if !slices.Equal(got, want) {
		t.Errorf("agent, customer, card and join: got %d, want %d", got, want)
	}
}

// TestRevoke revokes the links of a conversation and renews them in each way.
func TestRevoke(t *testing.T) {
	t.Parallel()
	r := newRevocation(t)
	const id = "revoked-1"
	programtest.Post(t, r.base, id)
	first := programtest.Ready(t, r.base, id)
	wantPages(t, first, 302, 200, 200, 303)
	watch := start(t, r.env, "links", "watch", "--json")
	watch.AwaitOutput(id)

	revoked := r.run(t, 0, "revoke", id)
	for _, want := range []string{"status      revoked", "\nrevoked     ", "generation  1", "can still join until it expires"} {
		if !strings.Contains(revoked, want) {
			t.Errorf("links revoke: got\n%s\nwant %q in it", revoked, want)
		}
	}
	if again := r.run(t, 0, "revoke", id); again != revoked {
		t.Errorf("links revoke, again: got\n%s\nwant\n%s", again, revoked)
	}
	if got := r.run(t, 0, "get", id); !strings.HasPrefix(revoked, got) {
		t.Errorf("links get: got\n%s\nwant the beginning of\n%s", got, revoked)
	}
	r.wantStatus(t, id, "revoked")
	wantPages(t, first, 410, 410, 410, 410)
	if got := r.run(t, 1, "revoke", "nobody"); !strings.Contains(got, `conversation "nobody" of account "default" has no links to revoke`) {
		t.Errorf("links revoke nobody: got %q", got)
	}

	action := postTo(t, http.DefaultTransport, r.base+actionPath, nil, fmt.Sprintf(actionBody, id))
	action.WantError(t, http.StatusGone, "revoked")
	r.program.Line(map[string]string{
		"kind": "audit", "level": "warn", "shape": "action", "interaction_id": id, "outcome": "revoked",
		"error": "revoked: the links of this conversation were revoked: renew them for a new room",
	})
	r.repeat(t, id)
	if got := r.auvious.Rooms(id); got != 1 {
		t.Errorf("rooms after a repeat of the event and an action: got %d, want 1", got)
	}

	renewals := map[string]func(){
		"API":  func() { programtest.Ask(t, http.MethodPost, r.base+"/links/"+id+"/renew", "") },
		"card": func() { programtest.Ask(t, http.MethodPost, first["cardUrl"]+"/renew", "") },
		"CLI":  func() { r.run(t, 0, "renew", id) },
	}
	for i, way := range []string{"API", "card", "CLI"} {
		r.run(t, 0, "revoke", id)
		renewals[way]()
		renewed := programtest.Ready(t, r.base, id)
		if renewed["ticketUrl"] == first["ticketUrl"] || r.auvious.Rooms(id) != i+2 {
			t.Errorf("renewing by %s: got %d rooms, want %d and another ticket", way, r.auvious.Rooms(id), i+2)
		}
		wantPages(t, first, 302, 200, 200, 303)
	}
	r.program.Line(map[string]string{"message": "links stored", "interaction_id": id})
	wantSubscribed(t, watch, "1 1r 2 2r 3 3r 4")
	if strings.Contains(r.program.Log(), "/t/") {
		t.Error("the log has a ticket, want none")
	}
}

// repeat posts the event again until the broker has forgotten the first one, and waits until
// a worker has settled it.
func (r revocation) repeat(t *testing.T, id string) {
	t.Helper()
	for deadline := time.Now().Add(roomlinktest.Timeout); programtest.Post(t, r.base, id).Status != http.StatusAccepted; {
		if time.Now().After(deadline) {
			t.Fatalf("repeating the event of %q: got no 202", id)
		}
	}
	state := programtest.Ask(t, http.MethodGet, r.base+"/links/"+id+"?wait=20", "").Fields
	if state["status"] != "revoked" {
		t.Errorf("status after a repeat of the event: got %q, want revoked", state["status"])
	}
	_, metrics := programtest.Visit(t, r.program.Address("operations")+"/metrics")
	if want := `roomlink_events_settled_total{account="default",outcome="already_linked"} 1`; !strings.Contains(metrics, want) {
		t.Errorf("metrics after a repeat of the event: got no %s", want)
	}
}

// wantSubscribed compares the generations that a subscriber received; r marks revoked links,
// which have no URLs.
func wantSubscribed(t *testing.T, watch *programtest.Program, want string) {
	t.Helper()
	watch.AwaitOutput(`"generation":` + want[len(want)-1:])
	var got []string
	for line := range strings.Lines(watch.Output()) {
		var links messages.Links
		if err := json.Unmarshal([]byte(line), &links); err != nil {
			t.Fatalf("reading what a subscriber got: %v", err)
		}
		mark := ""
		if links.Revoked() {
			mark = "r"
		}
		if links.Revoked() != (links.AgentURL == "") || links.Revoked() != (links.TicketURL == "") {
			t.Errorf("generation %d: got a URL in revoked links, or none in others", links.Generation)
		}
		got = append(got, fmt.Sprintf("%d%s", links.Generation, mark))
	}
	if text := strings.Join(got, " "); text != want {
		t.Errorf("generations: got %q, want %q", text, want)
	}
}

// TestRevokeWhileARenewalWaits: a renewal that waits still comes, and the command says so.
func TestRevokeWhileARenewalWaits(t *testing.T) {
	t.Parallel()
	r := newRevocation(t)
	const id = "revoked-2"
	programtest.Post(t, r.base, id)
	programtest.Ready(t, r.base, id)
	called, blocked := make(chan struct{}, 1), make(chan struct{})
	release := sync.OnceFunc(func() { close(blocked) })
	t.Cleanup(release)
	r.auvious.Script(func(simulator.Call) *simulator.Answer {
		called <- struct{}{}
		<-blocked
		return nil
	})
	// Until the first event is acknowledged, it makes a renewal a duplicate.
	ctx := roomlinktest.Context(t)
	for programtest.Ask(t, http.MethodPost, r.base+"/links/"+id+"/renew", "").Status == http.StatusOK {
		if err := ctx.Err(); err != nil {
			t.Fatalf("renewing: %v", err)
		}
	}
	roomlinktest.Receive(t, called, "the call of the renewal")
	if got := r.run(t, 0, "revoke", id); !strings.Contains(got, "status      pending") || !strings.Contains(got, "A renewal is waiting") {
		t.Errorf("links revoke: got\n%s\nwant the renewal named", got)
	}
	r.wantStatus(t, id, "pending")
	release()
	programtest.Ready(t, r.base, id)
	r.wantStatus(t, id, "ready")
}
