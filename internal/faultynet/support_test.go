package faultynet_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
	"roomlink/webhook"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

const (
	account = "acme"
	apiKey  = "an-invented-api-key"
	// answerWithin is the promise to Talkdesk.
	answerWithin = 5 * time.Second
)

// TestMain runs more tests at once than there are processors, since they wait for
// broken networks more than they compute.
func TestMain(m *testing.M) {
	const atOnce = 8
	flag.Parse()
	if runtime.GOMAXPROCS(0) < atOnce {
		_ = flag.Set("test.parallel", strconv.Itoa(atOnce))
	}
	// The server's configuration reads them, and tests run at once.
	for _, user := range []string{"", "OPERATOR_", "SUBSCRIBER_"} {
		_ = os.Setenv("ROOMLINK_NATS_"+user+"PASSWORD", "invented"+user)
	}
	stop := machine.watch()
	code := m.Run()
	stop()
	os.Exit(code)
}

// site is a webhook and a worker with broken networks on both sides, and an
// observer whose network is well.
type site struct {
	tb        testing.TB
	url       string
	client    *http.Client
	simulator *simulator.Simulator
	registry  *prometheus.Registry
	log       *roomlinktest.Logbook
	observer  *store.Store
	// toBroker and toAuvious are the networks.
	toBroker, toAuvious *roomlinktest.Network
	worker              *worker.Worker
	stopWorker          func()
	// linked takes the sets of links as they are stored.
	linked jetstream.Consumer
	// sets counts them by their subject.
	sets map[string]int
}

// setup is what a test may choose about its site.
type setup struct {
	// timeout of a facade call; 2 s by default.
	timeout time.Duration
	// unknownRetries is any number by default.
	unknownRetries int
}

func newSite(tb testing.TB, choice setup) *site {
	tb.Helper()
	if choice.timeout == 0 {
		choice.timeout = 2 * time.Second
	}
	if choice.unknownRetries == 0 {
		choice.unknownRetries = 1000
	}
	s := &site{
		tb: tb, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}},
		registry: prometheus.NewRegistry(), log: &roomlinktest.Logbook{}, sets: map[string]int{},
	}
	tb.Cleanup(s.client.CloseIdleConnections)
	address := startServer(tb)
	s.toBroker = roomlinktest.NewNetwork(tb, address)
	s.observer = dial(tb, address, zerolog.Nop())
	if err := store.Provision(roomlinktest.Context(tb), s.observer.JetStream(), store.StreamSettings{}); err != nil {
		tb.Fatalf("provisioning: %v", err)
	}
	var err error
	s.linked, err = s.observer.JetStream().OrderedConsumer(roomlinktest.Context(tb), messages.LinksStream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		tb.Fatalf("watching links: %v", err)
	}
	s.serve(dial(tb, s.toBroker.Address(), zerolog.New(s.log)))
	s.work(dial(tb, s.toBroker.Address(), zerolog.New(s.log)), choice)
	return s
}

// startServer runs the server that is deployed, and returns its address.
func startServer(tb testing.TB) string {
	tb.Helper()
	options, err := server.ProcessConfigFile("../../deploy/nats.conf")
	if err != nil {
		tb.Fatalf("reading the configuration: %v", err)
	}
	options.Host, options.Port, options.HTTPPort = "127.0.0.1", server.RANDOM_PORT, 0
	options.StoreDir, options.NoSigs, options.NoLog = tb.TempDir(), true, true
	options.SyncAlways = false // nobody cuts the power
	srv, err := server.NewServer(options)
	if err != nil {
		tb.Fatalf("making the server: %v", err)
	}
	srv.Start()
	tb.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(roomlinktest.Timeout) {
		tb.Fatal("the server is not ready")
	}
	return srv.Addr().String()
}

// dial connects as a part does.
func dial(tb testing.TB, address string, log zerolog.Logger) *store.Store {
	tb.Helper()
	b, err := broker.Dial(roomlinktest.Context(tb), broker.RemoteConfig{
		URL: "nats://" + address, User: "roomlink", Password: "invented", Logger: log,
	})
	if err != nil {
		tb.Fatalf("dialling: %v", err)
	}
	tb.Cleanup(b.Close)
	js, err := b.Connect("test")
	for ctx := roomlinktest.Context(tb); err != nil; js, err = b.Connect("test") { // a busy machine is not what is tested
		if ctx.Err() != nil {
			tb.Fatalf("connecting: %v", err)
		}
	}
	client := store.New(js, store.WithGroupCommit()) // as a part does with an external broker
	tb.Cleanup(client.Close)
	return client
}

// serve runs the webhook until the test ends.
func (s *site) serve(client *store.Store) {
	s.tb.Helper()
	keys, err := access.NewKeys(secret.String("an invented link key of these tests"))
	if err != nil {
		s.tb.Fatalf("making keys: %v", err)
	}
	authenticator, err := access.NewAuthenticator(access.Config{Keys: keys, Accounts: []accounts.Account{{
		Name: account, Talkdesk: accounts.Talkdesk{Credentials: accounts.Credentials{
			APIKeys: []accounts.APIKey{{Name: "key", Key: apiKey}},
		}},
	}}})
	if err != nil {
		s.tb.Fatalf("making an authenticator: %v", err)
	}
	feed := store.NewFeed(client)
	router := web.NewRouter()
	webhook.New(webhook.Config{
		Client: client, Feed: feed, Authenticator: authenticator, Accounts: []accounts.Account{{Name: account}},
		Pages:  access.Pages{Keys: keys, BaseURL: "https://rooms.example", Lifetime: time.Hour},
		Logger: zerolog.Nop(), Registerer: s.registry,
	}).Routes(router)
	front := httptest.NewServer(router)
	s.tb.Cleanup(front.Close)
	s.url = front.URL
	s.background("the feed", func(ctx context.Context) error { return feed.Run(ctx, nil) })
}

// work runs the worker, in front of a simulated auvious behind its network.
func (s *site) work(client *store.Store, choice setup) {
	s.tb.Helper()
	var err error
	if s.simulator, err = simulator.New(simulator.Config{}); err != nil {
		s.tb.Fatalf("making a simulator: %v", err)
	}
	behind := httptest.NewServer(s.simulator)
	s.tb.Cleanup(behind.Close)
	s.toAuvious = roomlinktest.NewNetwork(s.tb, behind.Listener.Addr().String())
	own := accounts.Default(account)
	rooms := &own.Auvious.Rooms
	rooms.URL, rooms.URLBase = "http://"+s.toAuvious.Address(), "https://auvious.test"
	rooms.Timeout, rooms.UnknownRetries = cmp.Or(choice.timeout, rooms.Timeout), choice.unknownRetries
	rooms.ClientID, rooms.ClientSecret = simulator.DefaultClientID, simulator.DefaultClientSecret
	own.Auvious.ApplicationID = "app-1"
	facade, err := auvious.New(*rooms)
	if err != nil {
		s.tb.Fatalf("making a facade: %v", err)
	}
	if s.worker, err = worker.New(worker.Config{
		Client: client, Logger: zerolog.New(s.log), Registerer: s.registry, Grace: time.Second,
		Accounts: []worker.Account{{Account: own, Facade: facade}},
	}); err != nil {
		s.tb.Fatalf("making a worker: %v", err)
	}
	s.stopWorker = s.background("the worker", s.worker.Run)
}

// background runs a part until it is stopped, and at the latest when the test
// ends.
func (s *site) background(what string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.tb.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				s.tb.Errorf("%s: got error %v, want none", what, err)
			}
		case <-time.After(roomlinktest.Timeout):
			s.tb.Errorf("%s: got no end, want one", what)
		}
	})
	s.tb.Cleanup(stop)
	return stop
}

// answer is how an event was answered.
type answer struct {
	id         string
	status     int
	retryAfter string
	took       time.Duration
	// lost is how much of that the machine was busy with something else.
	lost time.Duration
}

// stored reports whether the event was answered 2xx.
func (a answer) stored() bool { return a.status/100 == 2 }

// post posts an event, and wants an answer in time that is 2xx, or 503 with
// Retry-After.
func (s *site) post(id string) answer {
	s.tb.Helper()
	body := fmt.Sprintf(`{"event":"inbound_call_starts","interaction_id":%q,"contact_id":"contact-1"}`, id)
	a := s.send("/talkdesk/events", id, body)
	s.wantInTime(a)
	return a
}

// send posts a body to the webhook.
func (s *site) send(path, id, body string) answer {
	s.tb.Helper()
	request, err := http.NewRequestWithContext(s.tb.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.tb.Fatalf("making a request: %v", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-API-Key", apiKey)
	began, lost := time.Now(), machine.spell()
	response, err := s.client.Do(request)
	if err != nil {
		s.tb.Errorf("posting %q: got error %v, want an answer", id, err)
		return answer{id: id}
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return answer{id, response.StatusCode, response.Header.Get("Retry-After"), time.Since(began), lost()}
}

// wantInTime holds an answer to what Talkdesk is promised.
func (s *site) wantInTime(a answer) {
	s.tb.Helper()
	if a.took-a.lost > answerWithin {
		s.tb.Errorf("posting %q: got the answer %d after %v, of which the machine was busy %v; want it within %v",
			a.id, a.status, a.took, a.lost, answerWithin)
	}
	if refused := a.status == http.StatusServiceUnavailable && a.retryAfter != ""; !a.stored() && !refused {
		s.tb.Errorf("posting %q: got %d with Retry-After %q, want 2xx, or 503 with Retry-After", a.id, a.status, a.retryAfter)
	}
}

// flood posts events, some at once, and returns those that were stored and those
// that were refused.
func (s *site) flood(prefix string, count, atOnce int) (stored, refused []string) {
	s.tb.Helper()
	answers := make([]answer, count)
	s.inParallel(count, atOnce, func(i int) { answers[i] = s.post(fmt.Sprintf("%s-%d", prefix, i)) })
	return s.sorted(prefix, answers)
}

// spread posts events evenly over a while, whether those before are answered or
// not.
func (s *site) spread(prefix string, count int, over time.Duration) (stored, refused []string) {
	s.tb.Helper()
	answers := make([]answer, count)
	var posting sync.WaitGroup
	ticker := time.NewTicker(over / time.Duration(count))
	defer ticker.Stop()
	for i := range count {
		<-ticker.C
		posting.Go(func() { answers[i] = s.post(fmt.Sprintf("%s-%d", prefix, i)) })
	}
	posting.Wait()
	return s.sorted(prefix, answers)
}

// sorted tells the events that were stored from those that were refused.
func (s *site) sorted(what string, answers []answer) (stored, refused []string) {
	s.tb.Helper()
	var slowest time.Duration
	for _, a := range answers {
		slowest = max(slowest, a.took)
		if a.stored() {
			stored = append(stored, a.id)
		} else {
			refused = append(refused, a.id)
		}
	}
	s.tb.Logf("%s: %d stored, %d refused, the slowest answer after %v", what, len(stored), len(refused), slowest)
	return stored, refused
}

// mustStore posts an event as often as it is refused, each time after the while
// that the answer names.
func (s *site) mustStore(id string) {
	s.tb.Helper()
	for ctx := roomlinktest.Context(s.tb); ; {
		a := s.post(id)
		if a.stored() {
			return
		}
		seconds, _ := strconv.Atoi(a.retryAfter)
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-ctx.Done():
			s.tb.Fatalf("posting %q: got 503 to the end, want it stored once the network is well", id)
		}
	}
}

// awaitLinks waits for the links of conversations.
func (s *site) awaitLinks(ids ...string) {
	s.tb.Helper()
	for _, id := range ids {
		subject := messages.Conversation{Account: account, InteractionID: id}.LinksSubject()
		for s.sets[subject] == 0 {
			msg, err := s.linked.Next(jetstream.FetchMaxWait(roomlinktest.Timeout))
			if err != nil {
				s.tb.Fatalf("waiting for the links of %q: got error %v, want them", id, err)
			}
			s.sets[msg.Subject()]++
		}
	}
}

// wantDone waits until the queue is empty, stops the worker, and reconciles what
// there is with the conversations whose events were answered 2xx.
func (s *site) wantDone(ids []string) {
	s.tb.Helper()
	s.awaitLinks(ids...)
	s.await("an empty queue", func() bool { return s.messagesIn(messages.ConversationsStream) == 0 })
	s.stopWorker()
	for s.sum() < int(s.lastSequence(messages.LinksStream)) {
		s.awaitNext()
	}
	for subject, count := range s.sets {
		if count != 1 {
			s.tb.Errorf("sets of links on %q: got %d, want 1", subject, count)
		}
	}
	if len(s.sets) != len(ids) {
		s.tb.Errorf("conversations with links: got %d, want %d", len(s.sets), len(ids))
	}
	if got := s.messagesIn(messages.DeadLettersStream); got != 0 {
		s.tb.Errorf("dead letters: got %d, want none", got)
	}
	spare := 0
	for _, rooms := range s.simulator.RoomsByInteraction() {
		spare += rooms - 1
	}
	orphans := int(s.metric("roomlink_orphans_possible_total"))
	if spare > orphans {
		s.tb.Errorf("rooms that nobody uses: got %d, want at most those that are counted: %d", spare, orphans)
	}
	s.tb.Logf("%d conversations, %d rooms too many, %d counted as possible orphans", len(ids), spare, orphans)
}

func (s *site) awaitNext() {
	s.tb.Helper()
	msg, err := s.linked.Next(jetstream.FetchMaxWait(roomlinktest.Timeout))
	if err != nil {
		s.tb.Fatalf("waiting for links: got error %v, want some", err)
	}
	s.sets[msg.Subject()]++
}

func (s *site) sum() int {
	sum := 0
	for _, count := range s.sets {
		sum += count
	}
	return sum
}

// await asks the broker until a condition holds.
func (s *site) await(what string, holds func() bool) {
	s.tb.Helper()
	for ctx := roomlinktest.Context(s.tb); !holds(); {
		if err := s.observer.JetStream().Conn().FlushWithContext(ctx); err != nil {
			s.tb.Fatalf("waiting for %s: %v", what, err)
		}
	}
}

func (s *site) streamState(name string) jetstream.StreamState {
	s.tb.Helper()
	return roomlinktest.Stream(s.tb, s.observer, name).CachedInfo().State
}

func (s *site) messagesIn(stream string) uint64 { return s.streamState(stream).Msgs }

func (s *site) lastSequence(stream string) uint64 { return s.streamState(stream).LastSeq }

// metric is the sum of a metric over the series that have these labels, given as
// name and value in turn.
func (s *site) metric(name string, labels ...string) float64 {
	s.tb.Helper()
	return roomlinktest.SumMetric(s.tb, s.registry, name, labels...)
}

// awaitCalls waits until facade calls with an outcome have ended. A line of the
// log follows each.
func (s *site) awaitCalls(outcome string, count float64) {
	s.tb.Helper()
	ctx := roomlinktest.Context(s.tb)
	for {
		line := s.log.Next()
		if s.metric("roomlink_facade_calls_total", "outcome", outcome) >= count {
			return
		}
		select {
		case <-line:
		case <-ctx.Done():
			s.tb.Fatalf("calls that ended as %s: got %v, want %v", outcome,
				s.metric("roomlink_facade_calls_total", "outcome", outcome), count)
		}
	}
}

// inParallel calls a function with 0, 1, … from some goroutines.
func (s *site) inParallel(count, atOnce int, do func(int)) {
	numbers := make(chan int)
	var working sync.WaitGroup
	for range atOnce {
		working.Go(func() {
			for i := range numbers {
				do(i)
			}
		})
	}
	for i := range count {
		numbers <- i
	}
	close(numbers)
	working.Wait()
}
