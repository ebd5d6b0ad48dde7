package faultynet_test

import (
	"cmp"
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

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
	// answerTimeout is how long Talkdesk waits for an answer.
	answerTimeout = 5 * time.Second
)

// TestMain runs more tests at once than there are processors, because the tests mostly wait.
func TestMain(m *testing.M) {
	const parallel = 8
	flag.Parse()
	if runtime.GOMAXPROCS(0) < parallel {
		_ = flag.Set("test.parallel", strconv.Itoa(parallel))
	}
	stop := machine.watch()
	code := m.Run()
	stop()
	os.Exit(code)
}

// system is a webhook and a worker with faulty networks to the broker and to auvious. The
// observer's connection to the broker is good.
type system struct {
	tb                  testing.TB
	url                 string
	client              *http.Client
	simulator           *simulator.Simulator
	registry            *prometheus.Registry
	log                 *roomlinktest.Logbook
	observer            *store.Store
	toBroker, toAuvious *roomlinktest.Network
	worker              *worker.Worker
	stopWorker          func()
	// links delivers each stored set of links. sets counts them by subject.
	links jetstream.Consumer
	sets  map[string]int
}

// settings are the settings of a system.
type settings struct {
	// timeout bounds a facade call; 2 s by default.
	timeout time.Duration
	// unknownRetries is 1000 by default.
	unknownRetries int
}

func newSystem(tb testing.TB, choice settings) *system {
	tb.Helper()
	roomlinktest.SkipIfShort(tb, "it breaks networks")
	choice.timeout = cmp.Or(choice.timeout, 2*time.Second)
	choice.unknownRetries = cmp.Or(choice.unknownRetries, 1000)
	s := &system{
		tb: tb, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}},
		registry: prometheus.NewRegistry(), log: &roomlinktest.Logbook{}, sets: map[string]int{},
	}
	tb.Cleanup(s.client.CloseIdleConnections)
	address := roomlinktest.StartDeployedServer(tb).Addr().String()
	s.toBroker = roomlinktest.NewNetwork(tb, address)
	s.observer = dial(tb, broker.RoleOperator, address, zerolog.Nop())
	if err := store.Provision(roomlinktest.Context(tb), s.observer.JetStream(), store.StreamSettings{}); err != nil {
		tb.Fatalf("provisioning: %v", err)
	}
	var err error
	s.links, err = s.observer.JetStream().OrderedConsumer(roomlinktest.Context(tb), messages.LinksStream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		tb.Fatalf("watching links: %v", err)
	}
	part := func(role broker.Role) *store.Store { return dial(tb, role, s.toBroker.Address(), zerolog.New(s.log)) }
	s.serve(part(broker.RoleWebhook))
	s.work(part(broker.RoleWorker), part(broker.RoleProvisioner).JetStream(), choice)
	return s
}

// dial connects with a role.
func dial(tb testing.TB, role broker.Role, address string, log zerolog.Logger) *store.Store {
	tb.Helper()
	b, err := broker.Dial(roomlinktest.Context(tb), broker.RemoteConfig{
		URL: "nats://" + address, Role: role, Login: roomlinktest.DeployedLogin(role), Logger: log,
	})
	if err != nil {
		tb.Fatalf("dialling: %v", err)
	}
	tb.Cleanup(b.Close)
	js, err := b.Connect(role, "test")
	for ctx := roomlinktest.Context(tb); err != nil; js, err = b.Connect(role, "test") { // the machine may be busy
		if ctx.Err() != nil {
			tb.Fatalf("connecting: %v", err)
		}
	}
	options := []store.Option{store.WithGroupCommit()} // like a part with an external broker
	if role == broker.RoleWebhook {
		options = append(options, store.WithoutDirectGet())
	}
	client := store.New(js, options...)
	tb.Cleanup(client.Close)
	return client
}

// serve runs the webhook until the test ends.
func (s *system) serve(client *store.Store) {
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
		Store: client, Feed: feed, Authenticator: authenticator, Accounts: []accounts.Account{{Name: account}},
		Pages:  access.Pages{Keys: keys, BaseURL: "https://rooms.example", Lifetime: time.Hour},
		Logger: zerolog.Nop(), Registerer: s.registry, ActionTimeout: 4 * time.Second,
	}).Routes(router)
	front := httptest.NewServer(router)
	s.tb.Cleanup(front.Close)
	s.url = front.URL
	s.background("the feed", feed.Run)
}

// work runs the worker and the simulated auvious.
func (s *system) work(client *store.Store, provisioner jetstream.JetStream, choice settings) {
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
		Store: client, Provisioner: provisioner, Logger: zerolog.New(s.log), Registerer: s.registry, Grace: time.Second,
		Accounts: []worker.Account{{Account: own, Facade: facade}},
	}); err != nil {
		s.tb.Fatalf("making a worker: %v", err)
	}
	s.stopWorker = s.background("the worker", s.worker.Run)
}

// background runs a part until stop is called or the test ends.
func (s *system) background(what string, run func(context.Context) error) (stop func()) {
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
			s.tb.Errorf("%s: got no return after its context ended, want one", what)
		}
	})
	s.tb.Cleanup(stop)
	return stop
}

// awaitLinks waits for the links of conversations.
func (s *system) awaitLinks(ids ...string) {
	s.tb.Helper()
	for _, id := range ids {
		subject := messages.Conversation{Account: account, InteractionID: id}.LinksSubject()
		for s.sets[subject] == 0 {
			s.awaitNext()
		}
	}
}

// wantDone waits until the queue is empty and stops the worker. Then it checks that exactly the
// given conversations have one set of links each.
func (s *system) wantDone(ids []string) {
	s.tb.Helper()
	s.awaitLinks(ids...)
	roomlinktest.Await(s.tb, "an empty queue", func() bool { return s.messagesIn(messages.ConversationsStream) == 0 })
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
		s.tb.Errorf("unused rooms: got %d, want at most %d, the number of counted orphans", spare, orphans)
	}
	s.tb.Logf("%d conversations, %d unused rooms, %d counted as possible orphans", len(ids), spare, orphans)
}

// awaitNext waits for the next set of links.
func (s *system) awaitNext() {
	s.tb.Helper()
	msg, err := s.links.Next(jetstream.FetchMaxWait(roomlinktest.Timeout))
	if err != nil {
		s.tb.Fatalf("waiting for links: %v", err)
	}
	s.sets[msg.Subject()]++
}

func (s *system) sum() int {
	sum := 0
	for _, count := range s.sets {
		sum += count
	}
	return sum
}

func (s *system) streamState(name string) jetstream.StreamState {
	s.tb.Helper()
	return roomlinktest.Stream(s.tb, s.observer, name).CachedInfo().State
}

func (s *system) messagesIn(stream string) uint64 { return s.streamState(stream).Msgs }

func (s *system) lastSequence(stream string) uint64 { return s.streamState(stream).LastSeq }

// metric returns the sum of a metric over the series with the given labels, as pairs of name
// and value.
func (s *system) metric(name string, labels ...string) float64 {
	s.tb.Helper()
	return roomlinktest.SumMetric(s.tb, s.registry, name, labels...)
}

// awaitCalls waits until the given number of facade calls have ended with an outcome. Each call
// writes a log line.
func (s *system) awaitCalls(outcome string, count float64) {
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
