package worker_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// serveWith starts a simulated auvious, and returns it with a client. If room is not nil, it answers the room calls.
func serveWith(tb testing.TB, config accounts.Rooms, room http.HandlerFunc) (*simulator.Simulator, *auvious.Client) {
	tb.Helper()
	s, err := simulator.New(simulator.Config{})
	if err != nil {
		tb.Fatalf("making a simulator: %v", err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/security/facades/room" && room != nil {
			room(w, r)
			return
		}
		s.ServeHTTP(w, r)
	}))
	tb.Cleanup(server.Close)
	config.URL = server.URL
	config.ClientID, config.ClientSecret = simulator.DefaultClientID, secret.String(simulator.DefaultClientSecret)
	return s, newClient(tb, config)
}

// TestBrokenAnswers: each broken answer leads to one dead letter after one call. If the outcome is unknown, the worker
// counts a possible orphan room.
func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	const url = "https://auvious.test/t/hush"
	for _, test := range []struct {
		name    string
		answer  http.HandlerFunc
		reason  string
		status  int
		orphans float64
	}{
		{"hangs", func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, messages.ReasonUnknownOutcome, 0, 1},
		{"hangs within the answer", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, `{"agentUrl":"`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, messages.ReasonUnknownOutcome, 200, 1},
		{"reset within the answer", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, `{"agentUrl":"`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, messages.ReasonUnknownOutcome, 200, 1},
		{"not HTTP", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "220 auvious ESMTP\r\n")
			_ = conn.Close()
		}, messages.ReasonUnknownOutcome, 0, 1},
		{"truncated JSON", answers(`{"agentUrl":"` + url + `","recordingUrl":"","ticketUrl":"` + url), messages.ReasonBadAnswer, 200, 0},
		{"HTML", answers("<!doctype html><title>Sign in</title>" + url), messages.ReasonBadAnswer, 200, 0},
		{"wrong types", answers(`{"agentUrl":["` + url + `"],"recordingUrl":0,"ticketUrl":{"url":"` + url + `"}}`), messages.ReasonBadAnswer, 200, 0},
		{"100 MiB", answers(`{"agentUrl":"` + strings.Repeat("hush", 25<<20) + `"}`), messages.ReasonBadAnswer, 200, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			rooms := accounts.Rooms{}
			if strings.HasPrefix(test.name, "hangs") {
				rooms.Timeout = time.Second
			}
			_, client := serveWith(t, rooms, test.answer)
			r := h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}})
			h.publish(roomlinktest.Started("call-1"))
			letter := h.deadLetter("call-1")
			h.wantSettled()
			r.mustStop()
			wantLetter(t, letter, test.reason, test.status)
			if strings.Contains(letter.Detail, "hush") {
				t.Errorf("detail: got a secret in %q, want none", letter.Detail)
			}
			r.wantMetric(1, "roomlink_facade_calls_total", "outcome", test.reason) // a slow fetch of the token may fail before
			r.wantMetric(test.orphans, "roomlink_orphans_possible_total")
			h.wantMessages(messages.LinksStream, 0)
		})
	}
}

// answers returns a handler that answers 200 with a body.
func answers(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}
}

// TestRedirectingFacade: the client does not follow a redirect. The worker retries the event.
func TestRedirectingFacade(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	visits := make(chan string, 64)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		visits <- r.Method + " with " + r.Header.Get("Authorization")
	}))
	t.Cleanup(elsewhere.Close)
	s, client := serve(t, simulator.Config{})
	s.Script(func(call simulator.Call) *simulator.Answer {
		statuses := []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}
		if call.Number > len(statuses) {
			return nil
		}
		return &simulator.Answer{
			Status: statuses[call.Number-1], Header: http.Header{"Location": {elsewhere.URL + "/security/facades/room"}},
		}
	})
	r := h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}})
	h.publish(roomlinktest.Started("call-1"))
	h.links("call-1")
	h.wantSettled()
	r.mustStop()
	if len(visits) > 0 {
		t.Errorf("visits elsewhere: got %q, want none", <-visits)
	}
	h.wantMessages(messages.DeadLettersStream, 0)
	r.wantMetric(4, "roomlink_facade_calls_total", "outcome", "not_done")
	r.wantMetric(0, "roomlink_orphans_possible_total")
}

// TestRefusedStorm: auvious refuses the token while 64 calls run. They fetch few new tokens, the breaker opens, and no
// event is lost.
func TestRefusedStorm(t *testing.T) {
	t.Parallel()
	const callers, maxTokens = 64, 3
	h := newHarness(t)
	s, client := serve(t, simulator.Config{})
	asked, answer := make(chan struct{}, 2*callers), make(chan struct{})
	s.Script(func(simulator.Call) *simulator.Answer {
		asked <- struct{}{}
		return &simulator.Answer{Status: http.StatusUnauthorized, Wait: answer}
	})
	config := simulatedAccount(client)
	config.Auvious.Concurrency = callers
	r := h.start(worker.Config{Accounts: []worker.Account{config}})
	for i := range callers {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	for range callers {
		roomlinktest.Receive(t, asked, "a call")
	}
	close(answer)
	r.awaitBreaker(open)
	if got := s.Stats().TokenCalls; got > maxTokens {
		t.Errorf("token calls: got %d, want at most %d", got, maxTokens)
	}
	s.Script(nil)
	for i := range callers {
		h.links(fmt.Sprintf("call-%d", i))
	}
	h.wantSettled()
	r.mustStop()
	h.wantMessages(messages.DeadLettersStream, 0)
	if stats := s.Stats(); stats.RoomsMade != callers || stats.TokenCalls > maxTokens+1 {
		t.Errorf("got %d rooms with %d token calls, want %d with at most %d", stats.RoomsMade, stats.TokenCalls, callers, maxTokens+1)
	}
}

// TestTokenEndpointDown: with a valid token, calls succeed without the token endpoint. Without one, the events wait for
// the endpoint.
func TestTokenEndpointDown(t *testing.T) {
	t.Parallel()
	const events = 20
	h := newHarness(t)
	s, client := serve(t, simulator.Config{})
	r := h.start(worker.Config{Accounts: []worker.Account{simulatedAccount(client)}})
	h.publish(roomlinktest.Started("first"))
	h.links("first")
	if err := s.SetFaults(simulator.Faults{TokenStatus: http.StatusServiceUnavailable}); err != nil {
		t.Fatalf("setting faults: %v", err)
	}
	for i := range events {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
	}
	for i := range events {
		h.links(fmt.Sprintf("call-%d", i))
	}
	r.wantMetric(0, "roomlink_facade_calls_total", "outcome", "account_refused")
	if got := s.Stats().TokenCalls; got != 1 {
		t.Errorf("token calls with a valid token: got %d, want 1", got)
	}

	s.RevokeTokens()
	h.publish(roomlinktest.Started("waits"))
	r.awaitBreaker(open)
	h.wantMessages(messages.ConversationsStream, 1)
	h.wantMessages(messages.DeadLettersStream, 0)
	if err := s.SetFaults(simulator.Faults{}); err != nil {
		t.Fatalf("ending the faults: %v", err)
	}
	h.links("waits")
	h.wantSettled()
	r.mustStop()
	h.wantMessages(messages.DeadLettersStream, 0)
	if stats := s.Stats(); stats.Doubles != 0 {
		t.Errorf("conversations with two rooms: got %d, want none", stats.Doubles)
	}
}
