package worker_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/simulator"
	"roomlink/internal/store"
	"roomlink/messages"
	"roomlink/worker"
	"roomlink/worker/auvious"
)

// TestMain runs more tests at once than there are processors, because the tests mostly wait for a broker.
func TestMain(m *testing.M) {
	const atOnce = 8
	flag.Parse()
	if runtime.GOMAXPROCS(0) < atOnce {
		_ = flag.Set("test.parallel", strconv.Itoa(atOnce))
	}
	os.Exit(m.Run())
}

// account is the account of most tests.
const account = roomlinktest.Account

// facade is a fake facade: a function that makes rooms.
type facade func(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error)

var _ worker.Facade = facade(nil)

// CreateRoom implements [worker.Facade].
func (f facade) CreateRoom(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error) {
	return f(ctx, request)
}

// TokenAge implements [worker.Facade].
func (facade) TokenAge() time.Duration { return time.Minute }

// roomOf returns the room that a fake facade makes.
func roomOf(request auvious.RoomRequest) auvious.Room {
	return auvious.Room{
		AgentURL:  "https://auvious.test/agent/" + request.InteractionID,
		TicketURL: messages.Secret("https://auvious.test/t/" + request.InteractionID),
	}
}

// makes returns a facade that makes a room on every call.
func makes() facade {
	return func(_ context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		return roomOf(request), nil
	}
}

// fails returns a facade that fails every call with an error of a kind.
func fails(kind auvious.Kind) facade {
	return func(context.Context, auvious.RoomRequest) (auvious.Room, error) {
		return auvious.Room{}, &auvious.CallError{Kind: kind, Detail: "invented"}
	}
}

// recorded returns a facade that sends each request to the channel before it calls next.
func recorded(next facade) (facade, <-chan auvious.RoomRequest) {
	calls := make(chan auvious.RoomRequest, 1024)
	return func(ctx context.Context, request auvious.RoomRequest) (auvious.Room, error) {
		calls <- request
		return next(ctx, request)
	}, calls
}

// harness is a broker and the test's own connection to it.
type harness struct {
	tb     testing.TB
	broker *broker.Broker
	store  *store.Store
}

// newHarness starts a broker. It ends with the test.
func newHarness(tb testing.TB) *harness {
	tb.Helper()
	b := roomlinktest.StartBroker(tb)
	return &harness{tb: tb, broker: b, store: roomlinktest.Store(tb, b)}
}

// running is a running worker with its metrics and its log.
type running struct {
	*worker.Worker
	harness  *harness
	registry *prometheus.Registry
	log      *roomlinktest.Logbook
	stop     context.CancelFunc
	ended    chan error
}

// start runs a worker until it is stopped or the test ends. The worker has a connection of its own unless the
// configuration has one.
func (h *harness) start(config worker.Config) *running {
	h.tb.Helper()
	r := &running{
		harness: h, registry: prometheus.NewPedanticRegistry(), log: &roomlinktest.Logbook{}, ended: make(chan error, 1),
	}
	if config.Store == nil {
		config.Store = roomlinktest.Store(h.tb, h.broker)
	}
	config.Logger = zerolog.New(r.log).Level(zerolog.TraceLevel)
	config.Registerer = r.registry
	config.Grace = cmp.Or(config.Grace, 20*time.Second)
	var err error
	if r.Worker, err = worker.New(config); err != nil {
		h.tb.Fatalf("making a worker: %v", err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(h.tb.Context()))
	r.stop = stop
	go func() { r.ended <- r.Run(ctx) }()
	h.tb.Cleanup(r.mustStop)
	return r
}

// startWith runs a worker of [account] with a facade.
func (h *harness) startWith(f worker.Facade) *running {
	h.tb.Helper()
	return h.start(worker.Config{Accounts: []worker.Account{configured(account, f)}})
}

// mustStop stops the worker and checks that Run returns nil. It may be called twice.
func (r *running) mustStop() {
	r.harness.tb.Helper()
	r.stop()
	err := roomlinktest.Receive(r.harness.tb, r.ended, "the end of the worker")
	if err != nil {
		r.harness.tb.Errorf("Run: got error %v, want none", err)
	}
	r.ended <- err
}

// serve starts a simulated auvious, and returns it with a client.
func serve(tb testing.TB, config simulator.Config) (*simulator.Simulator, *auvious.Client) {
	tb.Helper()
	s, err := simulator.New(config)
	if err != nil {
		tb.Fatalf("making a simulator: %v", err)
	}
	server := httptest.NewServer(s)
	tb.Cleanup(server.Close)
	return s, newClient(tb, accounts.Rooms{
		URL:          server.URL,
		ClientID:     simulator.DefaultClientID,
		ClientSecret: secret.String(simulator.DefaultClientSecret),
	})
}

// simulatedAccount returns the configuration of [account] that the simulator accepts.
func simulatedAccount(f worker.Facade) worker.Account {
	a := configured(account, f, func(rooms *accounts.Rooms) {
		rooms.OrganizationID, rooms.URLBase = "org-1", "https://auvious.video"
	})
	a.Auvious.ApplicationID = "app-1"
	return a
}

// configured returns an account with the default settings and the changes of the edits. The default is no retry after
// an unknown outcome.
func configured(name string, f worker.Facade, edits ...func(*accounts.Rooms)) worker.Account {
	a := worker.Account{Account: accounts.Default(name), Facade: f}
	a.Auvious.UnknownRetries = 0
	for _, edit := range edits {
		edit(&a.Auvious.Rooms)
	}
	return a
}

// concurrency returns an edit for [configured].
func concurrency(calls int) func(*accounts.Rooms) {
	return func(rooms *accounts.Rooms) { rooms.Concurrency = calls }
}

// unknownRetries returns an edit for [configured].
func unknownRetries(retries int) func(*accounts.Rooms) {
	return func(rooms *accounts.Rooms) { rooms.UnknownRetries = retries }
}

// newClient returns a client. Settings that are zero have their default.
func newClient(tb testing.TB, rooms accounts.Rooms) *auvious.Client {
	tb.Helper()
	def := accounts.Default(account).Auvious.Rooms
	rooms.URL = cmp.Or(rooms.URL, def.URL)
	rooms.Timeout, rooms.Concurrency = cmp.Or(rooms.Timeout, def.Timeout), cmp.Or(rooms.Concurrency, def.Concurrency)
	client, err := auvious.New(rooms)
	if err != nil {
		tb.Fatalf("making a client: %v", err)
	}
	tb.Cleanup(client.Close)
	return client
}

// publish stores an event.
func (h *harness) publish(e messages.Event[messages.Started]) {
	h.tb.Helper()
	roomlinktest.Publish(h.tb, h.store, e)
}

// publishRaw stores any data on the subject of a token.
func (h *harness) publishRaw(token string, data []byte) {
	h.tb.Helper()
	h.publishRawFor(account, token, data)
}

// publishLinks stores links in place of those with the sequence after. It returns their sequence.
func (h *harness) publishLinks(e messages.Event[messages.Links], after uint64) uint64 {
	h.tb.Helper()
	return roomlinktest.PublishLinks(h.tb, h.store, e, after)
}

// next returns the last message on a subject, or waits for the first one.
func (h *harness) next(stream, subject string) jetstream.Msg {
	h.tb.Helper()
	consumer, err := h.store.JetStream().OrderedConsumer(roomlinktest.Context(h.tb), stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverLastPolicy,
	})
	if err != nil {
		h.tb.Fatalf("watching %q: %v", subject, err)
	}
	msg, err := consumer.Next(jetstream.FetchMaxWait(roomlinktest.Timeout))
	if err != nil {
		h.tb.Fatalf("waiting for a message on %q: got error %v, want one", subject, err)
	}
	return msg
}

// links waits for the links of a conversation.
func (h *harness) links(id string) messages.Links {
	h.tb.Helper()
	return decode[messages.Links](h.tb, h.next(messages.LinksStream, roomlinktest.Conversation(id).LinksSubject()))
}

// storedLinks returns the stored links of a conversation.
func (h *harness) storedLinks(id string) messages.Stored[messages.Links] {
	h.tb.Helper()
	stored, err := h.store.Links(roomlinktest.Context(h.tb), roomlinktest.Conversation(id), store.Leader)
	if err != nil {
		h.tb.Fatalf("reading the links of %q: %v", id, err)
	}
	return stored
}

// deadLetter waits for the dead letter of a conversation.
func (h *harness) deadLetter(id string) messages.DeadLetter {
	h.tb.Helper()
	return h.deadLetterOn(messages.Token(roomlinktest.Conversation(id).InteractionID))
}

// deadLetterOn waits for the dead letter on the subject of a token.
func (h *harness) deadLetterOn(token string) messages.DeadLetter {
	h.tb.Helper()
	return decode[messages.DeadLetter](h.tb, h.next(messages.DeadLettersStream, "roomlink.deadletters."+account+"."+token))
}

func decode[T messages.Data](tb testing.TB, msg jetstream.Msg) T {
	tb.Helper()
	e, err := messages.Decode[T](msg.Data())
	if err != nil {
		tb.Fatalf("decoding the message on %q: %v", msg.Subject(), err)
	}
	return e.Data
}

// ack is an acknowledgement on the wire.
type ack struct {
	// kind is +ACK, -NAK, +TERM or +WPI.
	kind string
	// delivery is the number of the event's delivery, from 1.
	delivery uint64
	// sequence is the event's sequence in its stream.
	sequence uint64
}

// String implements [fmt.Stringer].
func (a ack) String() string {
	return fmt.Sprintf("%s of delivery %d of event %d", a.kind, a.delivery, a.sequence)
}

// acks returns the acknowledgements from now on, without +WPI.
func (h *harness) acks() <-chan ack {
	h.tb.Helper()
	return h.acksIf(func(a ack) bool { return a.kind != "+WPI" })
}

// acksIf returns the acknowledgements from now on for which wanted returns true.
func (h *harness) acksIf(wanted func(ack) bool) <-chan ack {
	h.tb.Helper()
	seen := make(chan ack, 4096)
	nc := h.store.JetStream().Conn()
	sub, err := nc.Subscribe("$JS.ACK."+messages.ConversationsStream+".>", func(msg *nats.Msg) {
		// $JS.ACK.stream.consumer.delivery.sequence.… (NATS ADR-15)
		parts := strings.Split(msg.Subject, ".")
		kind, _, _ := strings.Cut(string(msg.Data), " ")
		delivery, _ := strconv.ParseUint(parts[4], 10, 64)
		sequence, _ := strconv.ParseUint(parts[5], 10, 64)
		if a := (ack{kind, delivery, sequence}); wanted(a) {
			seen <- a
		}
	})
	if err != nil {
		h.tb.Fatalf("watching acknowledgements: %v", err)
	}
	h.tb.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.FlushWithContext(roomlinktest.Context(h.tb)); err != nil {
		h.tb.Fatalf("watching acknowledgements: %v", err)
	}
	return seen
}

// wantAck waits for the next acknowledgement and compares it.
func wantAck(tb testing.TB, acks <-chan ack, want ack) {
	tb.Helper()
	if got := roomlinktest.Receive(tb, acks, "an acknowledgement"); got != want {
		tb.Errorf("acknowledgement: got %v, want %v", got, want)
	}
}

// wantSettled waits until the queue is empty, and checks that no acknowledgement is pending.
func (h *harness) wantSettled() {
	h.tb.Helper()
	h.wantSettledFor(account)
}

// consumer returns the state of the consumer of [account].
func (h *harness) consumer() *jetstream.ConsumerInfo {
	h.tb.Helper()
	consumer, err := h.store.JetStream().Consumer(roomlinktest.Context(h.tb), messages.ConversationsStream, store.ConsumerName(account))
	if err != nil {
		h.tb.Fatalf("reading the consumer: %v", err)
	}
	return consumer.CachedInfo()
}

// wantMessages compares the number of messages in a stream.
func (h *harness) wantMessages(stream string, want uint64) {
	h.tb.Helper()
	if got := roomlinktest.Stream(h.tb, h.store, stream).CachedInfo().State.Msgs; got != want {
		h.tb.Errorf("messages in stream %q: got %d, want %d", stream, got, want)
	}
}

// metric returns the sum of a metric over the series with these labels: names and values in turn.
func (r *running) metric(name string, labels ...string) float64 {
	r.harness.tb.Helper()
	return roomlinktest.SumMetric(r.harness.tb, r.registry, name, labels...)
}

// wantMetric compares a metric.
func (r *running) wantMetric(want float64, name string, labels ...string) {
	r.harness.tb.Helper()
	if got := r.metric(name, labels...); got != want {
		r.harness.tb.Errorf("metric %s%v: got %v, want %v", name, labels, got, want)
	}
}
