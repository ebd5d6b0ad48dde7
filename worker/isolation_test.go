package worker_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"roomlink/internal/accounts"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// troubled is the account that fails in these tests. [account] works.
const troubled = "troubled"

// TestAccountsAreIsolated: while an account fails, the events of another account of the same worker get their links.
// After the failure has ended, so do its own.
func TestAccountsAreIsolated(t *testing.T) {
	t.Parallel()
	const flood, others = 2000, 50
	for _, test := range []struct {
		name   string
		events int
		// spoil makes an auvious fail. mend ends that.
		spoil func(*testing.T, *simulator.Simulator) (mend func())
	}{
		{"outage", 30, func(t *testing.T, s *simulator.Simulator) func() {
			return faulty(t, s, simulator.Faults{RoomStatus: http.StatusServiceUnavailable})
		}},
		{"many calls that hang", flood, func(_ *testing.T, s *simulator.Simulator) func() {
			answer := make(chan struct{})
			s.Script(func(simulator.Call) *simulator.Answer { return &simulator.Answer{Wait: answer} })
			return func() { close(answer) }
		}},
		{"wrong credentials", 30, func(_ *testing.T, s *simulator.Simulator) func() {
			s.SetCredentials(simulator.DefaultClientID, "rotated")
			return func() { s.SetCredentials(simulator.DefaultClientID, simulator.DefaultClientSecret) }
		}},
		{"a token endpoint that hangs", 30, func(_ *testing.T, s *simulator.Simulator) func() {
			answer := make(chan struct{})
			s.ScriptTokens(func(int) *simulator.Answer { return &simulator.Answer{Wait: answer} })
			return func() { close(answer) }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			// Without a timeout, because mend ends the calls that hang.
			s, client := serveWith(t, accounts.Rooms{Timeout: time.Hour}, nil)
			mend := sync.OnceFunc(test.spoil(t, s))
			t.Cleanup(mend) // or the server waits for its calls
			trouble := simulatedAccount(client)
			trouble.Name = troubled
			r := h.start(worker.Config{Accounts: []worker.Account{trouble, configured(account, makes())}})
			for i := range test.events {
				h.publish(of(troubled, fmt.Sprintf("call-%d", i)))
			}
			r.awaitMetric("a call of the failing account", 1, func() float64 {
				return float64(s.Stats().TokenCalls)
			})
			for i := range others {
				h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
			}
			for i := range others {
				h.links(fmt.Sprintf("call-%d", i))
			}
			// The failing account has no links yet, and no dead letters.
			h.wantMessages(messages.LinksStream, others)
			h.wantMessages(messages.DeadLettersStream, 0)
			mend()
			h.wantSettledFor(troubled)
			r.mustStop()
			h.wantMessages(messages.LinksStream, uint64(test.events+others))
			h.wantMessages(messages.DeadLettersStream, 0)
			if stats := s.Stats(); stats.RoomsMade != test.events || stats.Doubles != 0 {
				t.Errorf("rooms: got %d with %d made twice, want %d", stats.RoomsMade, stats.Doubles, test.events)
			}
			r.wantMetric(closed, "roomlink_breaker_state", "account", account)
			r.wantMetric(others, "roomlink_facade_calls_total", "account", account)
		})
	}
}

// TestPoisonIsIsolated: unreadable and rejected events delay neither another account nor the good events behind them.
func TestPoisonIsIsolated(t *testing.T) {
	t.Parallel()
	const poison, good = 200, 20
	h := newHarness(t)
	refuse := make(chan struct{})
	choosy := facade(func(_ context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		if request.CustomerID == "poison" {
			<-refuse
			return auvious.Room{}, &auvious.CallError{Kind: auvious.ErrRejected, Status: 422, Detail: "invented"}
		}
		return roomOf(request), nil
	})
	for i := range poison {
		if i%2 == 0 {
			h.publishRawFor(troubled, fmt.Sprintf("poison-%d", i), []byte("\x00 unreadable"))
			continue
		}
		event := of(troubled, fmt.Sprintf("poison-%d", i))
		event.Data.CustomerID = "poison"
		h.publish(event)
	}
	r := h.start(worker.Config{Accounts: []worker.Account{
		configured(troubled, choosy, concurrency(4)), configured(account, makes()),
	}})
	for i := range good {
		h.publish(roomlinktest.Started(fmt.Sprintf("call-%d", i)))
		h.publish(of(troubled, fmt.Sprintf("call-%d", i)))
	}
	for i := range good {
		h.links(fmt.Sprintf("call-%d", i))
	}
	r.wantMetric(0, "roomlink_dead_letters_total", "account", troubled, "reason", messages.ReasonRejected)
	close(refuse)
	for i := range good {
		h.next(messages.LinksStream, of(troubled, fmt.Sprintf("call-%d", i)).Data.LinksSubject())
	}
	h.wantSettledFor(troubled)
	r.mustStop()
	h.wantMessages(messages.LinksStream, 2*good)
	h.wantMessages(messages.DeadLettersStream, poison)
	r.wantMetric(poison/2, "roomlink_dead_letters_total", "account", troubled, "reason", messages.ReasonBadEvent)
	r.wantMetric(poison/2, "roomlink_dead_letters_total", "account", troubled, "reason", messages.ReasonRejected)
	r.wantMetric(closed, "roomlink_breaker_state")
}

// TestRotatedSecret: auvious wants another secret. The events wait until the account gets it, and none becomes a dead
// letter.
func TestRotatedSecret(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it waits for a breaker to close")
	const before, while = 10, 100
	h := newHarness(t)
	s, err := simulator.New(simulator.Config{})
	if err != nil {
		t.Fatalf("making a simulator: %v", err)
	}
	url := h.listen(s)
	withSecret := func(word string) []worker.Account {
		client := newClient(t, accounts.Rooms{
			URL: url, ClientID: simulator.DefaultClientID, ClientSecret: secret.String(word),
		})
		return []worker.Account{simulatedAccount(client)}
	}
	r := h.start(worker.Config{Accounts: withSecret(simulator.DefaultClientSecret)})
	for i := range before {
		h.publish(roomlinktest.Started(fmt.Sprintf("before-%d", i)))
	}
	for i := range before {
		h.links(fmt.Sprintf("before-%d", i))
	}
	s.SetCredentials(simulator.DefaultClientID, "rotated")
	for i := range while {
		h.publish(roomlinktest.Started(fmt.Sprintf("while-%d", i)))
	}
	r.awaitBreaker(open)
	probes := r.metric("roomlink_facade_calls_total", "outcome", "account_refused")
	r.awaitMetric("a failed probe", probes+1, func() float64 {
		return r.metric("roomlink_facade_calls_total", "outcome", "account_refused")
	})
	h.wantMessages(messages.ConversationsStream, while)
	h.wantMessages(messages.DeadLettersStream, 0)

	if err := r.SetAccounts(withSecret("rotated")); err != nil {
		t.Fatalf("setting accounts: %v", err)
	}
	r.wantMetric(closed, "roomlink_breaker_state") // of the changed account
	for i := range while {
		h.links(fmt.Sprintf("while-%d", i))
	}
	h.wantSettled()
	r.mustStop()
	h.wantMessages(messages.LinksStream, before+while)
	h.wantMessages(messages.DeadLettersStream, 0)
	if stats := s.Stats(); stats.RoomsMade != before+while || stats.Doubles != 0 {
		t.Errorf("rooms: got %d with %d made twice, want %d", stats.RoomsMade, stats.Doubles, before+while)
	}
}

// faulty sets faults. mend ends them.
func faulty(tb testing.TB, s *simulator.Simulator, faults simulator.Faults) (mend func()) {
	tb.Helper()
	set := func(faults simulator.Faults) {
		if err := s.SetFaults(faults); err != nil {
			tb.Errorf("setting faults: %v", err)
		}
	}
	set(faults)
	return func() { set(simulator.Faults{}) }
}

// of returns an event of an account.
func of(name, id string) messages.Event[messages.Started] {
	event := roomlinktest.Started(id)
	event.Data.Account = name
	return event
}

// publishRawFor stores any data on the subject of an account and a token.
func (h *harness) publishRawFor(name, token string, data []byte) {
	h.tb.Helper()
	if _, err := h.store.JetStream().Publish(roomlinktest.Context(h.tb), "roomlink.conversations."+name+"."+token, data); err != nil {
		h.tb.Fatalf("publishing on %q: %v", token, err)
	}
}

// wantSettledFor waits until the queue is empty, and checks that no acknowledgement of an account is pending.
func (h *harness) wantSettledFor(name string) {
	h.tb.Helper()
	roomlinktest.Await(h.tb, "an empty queue", func() bool {
		stream, err := h.store.JetStream().Stream(roomlinktest.Context(h.tb), messages.ConversationsStream)
		return err == nil && stream.CachedInfo().State.Msgs == 0
	})
	consumer, err := h.store.JetStream().Consumer(roomlinktest.Context(h.tb), messages.ConversationsStream, store.ConsumerName(name))
	if err != nil {
		h.tb.Fatalf("reading the consumer of %q: %v", name, err)
	}
	if got := consumer.CachedInfo().NumAckPending; got != 0 {
		h.tb.Errorf("pending acknowledgements of %q: got %d, want none", name, got)
	}
}

// awaitMetric waits until a figure is at least want.
func (r *running) awaitMetric(what string, want float64, figure func() float64) {
	r.harness.tb.Helper()
	roomlinktest.Await(r.harness.tb, what, func() bool { return figure() >= want })
}

// listen serves a handler until the test ends. It returns the URL.
func (h *harness) listen(handler http.Handler) (url string) {
	h.tb.Helper()
	server := httptest.NewServer(handler)
	h.tb.Cleanup(server.Close)
	return server.URL
}

// TestManyAccounts serves more accounts than the consumers that a stream of NATS may have by default.
func TestManyAccounts(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it creates a thousand consumers")
	const count = 1001
	h := newHarness(t)
	f, calls := recorded(makes())
	var all []worker.Account
	for i := range count {
		name := fmt.Sprintf("account-%d", i)
		all = append(all, worker.Account{Account: accounts.Default(name), Facade: f})
		event := roomlinktest.Started(name)
		event.Data.Account = name
		h.publish(event)
	}
	r := h.start(worker.Config{Accounts: all})
	for range count {
		roomlinktest.Receive(t, calls, "a call for each account")
	}
	if err := r.Ready(); err != nil {
		t.Errorf("ready: got error %v, want none", err)
	}
	r.mustStop()
	for _, one := range all {
		conversation := messages.Conversation{Account: one.Name, InteractionID: one.Name}
		if _, err := h.store.Links(roomlinktest.Context(t), conversation, store.Leader); err != nil {
			t.Errorf("links of %q: got error %v, want none", one.Name, err)
		}
	}
}
