package worker_test

import (
	"context"
	"strings"
	"testing"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// TestUnexpectedHosts: without link hosts every link is good. Those on unexpected hosts are
// counted, and each host is logged once.
func TestUnexpectedHosts(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	r := h.start(worker.Config{Accounts: []worker.Account{configured(account, facade(
		func(_ context.Context, request auvious.RoomRequest) (auvious.Room, error) {
			return auvious.Room{
				AgentURL: request.URLBase + "/agent", RecordingURL: "https://Auvious.Video/r",
				TicketURL: messages.Secret(request.URLBase + "/t/hush"),
			}, nil
		}), func(rooms *accounts.Rooms) { rooms.URLBase = "https://eu.auvious.example" })}})
	for id, base := range map[string]string{
		"own": "", "default": "https://auvious.video", "other-1": "https://video.example", "other-2": "https://video.example:8443",
		"other-3": "https://bücher.example",
	} {
		event := roomlinktest.Started(id)
		event.Data.URLBase = base
		h.publish(event)
		h.links(id)
	}
	r.mustStop()
	r.wantMetric(3, "roomlink_unexpected_link_hosts_total", "place", "url_base")
	r.wantMetric(3, "roomlink_unexpected_link_hosts_total", "place", "links")
	log := r.log.String()
	for _, host := range []string{"video.example", "xn--bcher-kva.example"} {
		if got := strings.Count(log, `"host":"`+host+`"`); got != 1 {
			t.Errorf("lines with the host %q: got %d, want 1", host, got)
		}
	}
	if strings.Contains(log, "hush") {
		t.Error("the log has a ticket")
	}
}

// TestLinkHosts: links on another host are a bad answer, and the dead letter names the host.
func TestLinkHosts(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	s, err := simulator.New(simulator.Config{})
	if err != nil {
		t.Fatalf("making a simulator: %v", err)
	}
	config := simulatedAccount(nil)
	config.LinkHosts = accounts.LinkHosts{"auvious.video", "*.rooms.example"}
	config.Auvious.URL, config.Auvious.ClientID = h.listen(s), simulator.DefaultClientID
	config.Auvious.ClientSecret = secret.String(simulator.DefaultClientSecret)
	if config.Facade, err = auvious.New(config.Auvious.Rooms, auvious.WithLinkHosts(config.LinkHosts)); err != nil {
		t.Fatalf("making a client: %v", err)
	}
	answers := map[string]string{
		"good":       `{"agentUrl":"https://auvious.video/a","recordingUrl":"https://a.rooms.example:8443/r","ticketUrl":"https://auvious.video/t/hush"}`,
		"agent":      `{"agentUrl":"https://evil.example/a","recordingUrl":"","ticketUrl":"https://auvious.video/t/hush"}`,
		"recording":  `{"agentUrl":"https://auvious.video/a","recordingUrl":"https://rooms.example/r","ticketUrl":"https://auvious.video/t/hush"}`,
		"ticket":     `{"agentUrl":"https://auvious.video/a","recordingUrl":"","ticketUrl":"https://auvious.video.evil.example/t/hush"}`,
		"user":       `{"agentUrl":"https://auvious.video/a","recordingUrl":"","ticketUrl":"https://auvious.video@evil.example/t/hush"}`,
		"look-alike": `{"agentUrl":"https://аuvious.video/a","recordingUrl":"","ticketUrl":"https://auvious.video/t/hush"}`,
	}
	s.Script(func(call simulator.Call) *simulator.Answer {
		return &simulator.Answer{Status: 201, Body: answers[call.InteractionID], Room: true}
	})
	r := h.start(worker.Config{Accounts: []worker.Account{config}})
	for id := range answers {
		h.publish(roomlinktest.Started(id))
	}
	h.links("good")
	for id, says := range map[string]string{
		"agent":     `agentUrl is on the host "evil.example"`,
		"recording": `recordingUrl is on the host "rooms.example"`,
		"ticket":    `ticketUrl is on the host "auvious.video.evil.example"`,
		"user":      "ticketUrl contains a user", "look-alike": "agentUrl is on the host",
	} {
		letter := h.deadLetter(id)
		if letter.Reason != messages.ReasonBadAnswer || letter.HTTPStatus != 201 || !strings.Contains(letter.Detail, says) ||
			strings.Contains(letter.Detail, "hush") {
			t.Errorf("%s: got %s %d %q, want bad_answer with %q", id, letter.Reason, letter.HTTPStatus, letter.Detail, says)
		}
	}
	r.mustStop()
	r.wantMetric(0, "roomlink_unexpected_link_hosts_total")
}

// TestURLBaseInPunycode: the beginning of links goes to auvious with a scheme and an ASCII
// host. One that is unusable, as older events may have, goes as it is.
func TestURLBaseInPunycode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ account, event, want string }{
		{"bücher.example", "", "https://xn--bcher-kva.example"},
		{"https://auvious.video", "https://Bücher.example/x", "https://xn--bcher-kva.example/x"},
		{"https://auvious.video", "https://https:/auvious.video", "https://https:/auvious.video"},
	} {
		h := newHarness(t)
		f, calls := recorded(makes())
		h.start(worker.Config{Accounts: []worker.Account{configured(account, f, func(rooms *accounts.Rooms) { rooms.URLBase = test.account })}})
		event := roomlinktest.Started("call-1")
		event.Data.URLBase = test.event
		h.publish(event)
		if got := roomlinktest.Receive(t, calls, "a call").URLBase; got != test.want {
			t.Errorf("account %q, event %q: got %q, want %q", test.account, test.event, got, test.want)
		}
	}
}
