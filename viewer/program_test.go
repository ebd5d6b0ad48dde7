package viewer_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"roomlink/internal/access"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
)

// program is roomlink as a process, with its own data directory and a simulated auvious.
type program struct {
	*programtest.Program

	env     map[string]string
	auvious programtest.Auvious
	url     string

	mu sync.Mutex
	// answers replace the answers of auvious for some conversations.
	answers map[string]simulator.Answer
}

// newProgram starts a program with settings such as ROOMLINK_PAGE_LIFETIME=1h.
func newProgram(tb testing.TB, settings ...string) *program {
	tb.Helper()
	p := &program{
		auvious: programtest.StartAuvious(tb, simulator.Config{}), answers: map[string]simulator.Answer{},
	}
	p.auvious.Script(p.answer)
	p.env = programtest.ServeEnv(tb, p.auvious.URL)
	p.env["ROOMLINK_FACADE_TIMEOUT"] = roomlinktest.Timeout.String() // a test may hold a call for long
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		p.env[name] = value
	}
	tb.Cleanup(func() {
		if got := p.auvious.Stats().TicketFetches; got != 0 {
			tb.Errorf("tickets: got %d requests for some, want none", got)
		}
	})
	p.run(tb)
	return p
}

// run starts the process, with the data directory of the last one.
func (p *program) run(tb testing.TB) {
	tb.Helper()
	p.Program = programtest.Start(tb, programtest.Command{Args: []string{"serve"}, Env: p.env})
	p.url = p.Address("public")
}

// answer returns the answer of auvious to a call; nil for the usual one.
func (p *program) answer(call simulator.Call) *simulator.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if answer, ok := p.answers[call.InteractionID]; ok {
		return &answer
	}
	return nil
}

// says sets the answer of auvious for a conversation.
func (p *program) says(id string, answer simulator.Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[id] = answer
}

// hold makes auvious delay its answer for a conversation until release is called.
func (p *program) hold(tb testing.TB, id string, answer simulator.Answer) (release func()) {
	tb.Helper()
	released := make(chan struct{})
	release = sync.OnceFunc(func() { close(released) })
	tb.Cleanup(release)
	answer.Wait = released
	p.says(id, answer)
	return release
}

// Answers of auvious.
var (
	asUsual = simulator.Answer{}
	refusal = simulator.Answer{Status: http.StatusUnprocessableEntity, Body: `{"error":"invented"}`}
)

// urls are the URLs of a room.
type urls struct {
	AgentURL     string `json:"agentUrl"`
	RecordingURL string `json:"recordingUrl"`
	TicketURL    string `json:"ticketUrl"`
}

// invented has every URL.
var invented = urls{agentURL, recordingURL, ticketURL}

// made returns the answer with a room that has these URLs.
func made(tb testing.TB, room urls) simulator.Answer {
	tb.Helper()
	body, err := json.Marshal(room)
	if err != nil {
		tb.Fatalf("encoding the URLs of a room: %v", err)
	}
	return simulator.Answer{Room: true, Status: http.StatusOK, Body: string(body)}
}

// post posts a JSON object to the program, as Talkdesk does.
func (p *program) post(tb testing.TB, path string, object map[string]any) programtest.Reply {
	tb.Helper()
	body, err := json.Marshal(object)
	if err != nil {
		tb.Fatalf("encoding a request: %v", err)
	}
	return programtest.Ask(tb, http.MethodPost, p.url+path, string(body))
}

// start posts the start of a conversation.
func (p *program) start(tb testing.TB, id string) {
	tb.Helper()
	reply := p.post(tb, "/talkdesk/events", map[string]any{
		"event": "inbound_call_starts", "interaction_id": id, "contact_id": "contact-1",
	})
	if reply.Status != http.StatusAccepted {
		tb.Fatalf("event of %q: got %d %q, want 202", id, reply.Status, reply.Fields["error"])
	}
}

// act runs the action for a conversation, with a ticket for some seconds. The room comes even
// after a timeout.
func (p *program) act(tb testing.TB, id string, seconds int) {
	tb.Helper()
	p.post(tb, "/security/facades/room", map[string]any{
		"applicationId": p.env["ROOMLINK_AUVIOUS_APPLICATION_ID"], "cdestination": "standalone",
		"customerId": "contact-1", "interactionId": id, "ticketExpirationSeconds": seconds,
	})
}

// renew renews the links of a conversation.
func (p *program) renew(tb testing.TB, id string) {
	tb.Helper()
	reply := programtest.Ask(tb, http.MethodPost, p.url+"/links/"+url.PathEscape(id)+"/renew", "")
	if reply.Status != http.StatusAccepted {
		tb.Fatalf("renewal of %q: got %d %q, want 202", id, reply.Status, reply.Fields["error"])
	}
}

// links returns the links of a conversation in any status.
func (p *program) links(tb testing.TB, id string) map[string]string {
	tb.Helper()
	reply := programtest.Ask(tb, http.MethodGet, p.url+"/links/"+url.PathEscape(id), "")
	if reply.Status != http.StatusOK {
		tb.Fatalf("links of %q: got %d %q, want 200", id, reply.Status, reply.Fields["error"])
	}
	return reply.Fields
}

// pages returns the addresses of a conversation. They are valid before it starts.
func (p *program) pages(tb testing.TB, id string) access.Addresses {
	tb.Helper()
	links := p.links(tb, id)
	return access.Addresses{Context: links["contextUrl"], Customer: links["customerUrl"], Card: links["cardUrl"]}
}

// until waits until a conversation has one of the statuses, and returns its links.
func (p *program) until(tb testing.TB, id string, statuses ...string) map[string]string {
	tb.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for end := roomlinktest.Context(tb); ; {
		links := p.links(tb, id)
		if slices.Contains(statuses, links["status"]) {
			return links
		}
		select {
		case <-again.C:
		case <-end.Done():
			tb.Fatalf("status of %q: got %q after %v, want one of %q", id, links["status"], roomlinktest.Timeout, statuses)
		}
	}
}

// ready starts a conversation, and waits for its links.
func (p *program) ready(tb testing.TB, id string) map[string]string {
	tb.Helper()
	p.start(tb, id)
	return p.until(tb, id, "ready")
}

// statuses brings a conversation into each status, and uses the status as its id.
func (p *program) statuses(tb testing.TB) {
	tb.Helper()
	for _, id := range []string{"ready", "expired", "renewing", "renewal failed"} {
		p.says(id, made(tb, invented))
	}
	p.start(tb, "ready")
	p.start(tb, "renewal failed")
	p.act(tb, "expired", 1)
	p.act(tb, "renewing", 1)
	p.says("failed", refusal)
	p.start(tb, "failed")
	p.hold(tb, "pending", asUsual)
	p.start(tb, "pending")

	p.until(tb, "renewal failed", "ready")
	p.says("renewal failed", refusal)
	p.renew(tb, "renewal failed")
	p.until(tb, "renewing", "expired")
	p.hold(tb, "renewing", asUsual)
	p.renew(tb, "renewing")
	for _, id := range []string{"ready", "expired", "failed"} {
		p.until(tb, id, id)
	}
	p.until(tb, "renewal failed", "failed")
}

// wantTicket checks that a customer's link leads to the ticket of the links.
func wantTicket(tb testing.TB, customerLink string, links map[string]string) {
	tb.Helper()
	if !strings.Contains(customerLink, "/open/") {
		tb.Fatalf("customer's link: got %d characters, want one of roomlink", len(customerLink))
	}
	call(tb, http.MethodPost, customerLink).wantRedirect(tb, http.StatusSeeOther, links["ticketUrl"])
}

// wantRooms checks the number of rooms of a conversation.
func (p *program) wantRooms(tb testing.TB, id string, want int) {
	tb.Helper()
	if got := p.auvious.Rooms(id); got != want {
		tb.Errorf("rooms of %q: got %d, want %d", id, got, want)
	}
}
