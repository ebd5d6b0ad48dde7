package webhook_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
	"roomlink/webhook"
)

// The accounts of the tests and their invented credentials.
const (
	account = roomlinktest.Account
	other   = "globex"

	linkKey      = secret.String("an invented link key of these tests")
	apiKey       = "acme-invented-api-key"
	otherKey     = "globex-invented-api-key"
	basicUser    = "talkdesk"
	basicSecret  = "acme-invented-password"
	clientID     = "connections"
	clientSecret = "acme-invented-client-secret"

	baseURL      = "https://rooms.example"
	pageLifetime = 24 * time.Hour

	eventsPath = "/talkdesk/events"
	tokenPath  = "/security/oauth/token"
)

// site is a webhook with its broker, served as in production.
type site struct {
	url      string
	address  string
	broker   *broker.Broker
	store    *store.Store
	keys     *access.Keys
	registry *prometheus.Registry
	log      *roomlinktest.Logbook
}

// setup is what a test chooses for its site.
type setup struct {
	accounts []accounts.Account
	streams  store.StreamSettings
	// clientSecret is [clientSecret] by default.
	clientSecret secret.String
	// actionTimeout is 4 s by default.
	actionTimeout time.Duration
	// deadFeed leaves the feed without its subscriptions.
	deadFeed bool
	// on is a site whose broker the new site shares.
	on *site
}

func newSite(tb testing.TB, s setup) *site {
	tb.Helper()
	made := &site{registry: prometheus.NewRegistry(), log: &roomlinktest.Logbook{}}
	if s.on != nil {
		made.broker = s.on.broker
	} else {
		made.broker = roomlinktest.StartBrokerWith(tb, broker.EmbeddedConfig{
			Dir: tb.TempDir(), Sync: time.Minute,
		}, s.streams)
	}
	made.store = roomlinktest.Store(tb, made.broker)
	var err error
	if made.keys, err = access.NewKeys(linkKey); err != nil {
		tb.Fatalf("making keys: %v", err)
	}
	if s.clientSecret == "" {
		s.clientSecret = clientSecret
	}
	if s.accounts == nil {
		s.accounts = []accounts.Account{{Name: account}, {Name: other}}
	}
	feed := store.NewFeed(made.store)
	if !s.deadFeed {
		feed = made.feed(tb)
	}
	made.serve(tb, webhook.New(webhook.Config{
		Store:         made.store,
		Feed:          feed,
		Authenticator: newAuthenticator(tb, made.keys, s.clientSecret),
		Pages:         access.Pages{Keys: made.keys, BaseURL: baseURL, Lifetime: pageLifetime},
		Accounts:      s.accounts,
		ActionTimeout: cmp.Or(s.actionTimeout, 4*time.Second),
		Logger:        zerolog.New(made.log),
		Registerer:    made.registry,
	}))
	return made
}

// feed runs a feed until the test ends.
func (s *site) feed(tb testing.TB) *store.Feed {
	tb.Helper()
	feed := store.NewFeed(s.store)
	ctx, stop := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- feed.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			tb.Errorf("running the feed: got error %v, want none", err)
		}
	})
	return feed
}

func withApplication(name, applicationID string) accounts.Account {
	return accounts.Account{Name: name, Auvious: accounts.Auvious{
		Application: accounts.Application{ApplicationID: applicationID},
	}}
}

func newAuthenticator(tb testing.TB, keys *access.Keys, clientSecret secret.String) *access.Authenticator {
	tb.Helper()
	authenticator, err := access.NewAuthenticator(access.Config{
		Keys: keys, TokenLifetime: time.Hour, FailureDelay: time.Millisecond,
		Accounts: []accounts.Account{
			{Name: account, Talkdesk: accounts.Talkdesk{Credentials: accounts.Credentials{
				APIKeys: []accounts.APIKey{{Name: "acme key", Key: apiKey}},
				Basic:   []accounts.Basic{{Name: "acme basic", User: basicUser, Password: basicSecret}},
				Clients: []accounts.Client{
					{Name: "acme client", ID: clientID, Secret: clientSecret},
					{Name: "acme odd client", ID: oddID, Secret: oddSecret},
				},
			}}},
			{Name: other, Talkdesk: accounts.Talkdesk{Credentials: accounts.Credentials{
				APIKeys: []accounts.APIKey{{Name: "globex key", Key: otherKey}},
			}}},
		},
	})
	if err != nil {
		tb.Fatalf("making an authenticator: %v", err)
	}
	return authenticator
}

// serve runs the webhook until the test ends.
func (s *site) serve(tb testing.TB, handler *webhook.Webhook) {
	tb.Helper()
	router := web.NewRouter()
	router.Use(web.Logged(zerolog.New(s.log)))
	handler.Routes(router)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	s.address = listener.Addr().String()
	s.url = "http://" + s.address
	ctx, stop := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() {
		done <- web.Server{Handler: router, Grace: time.Second, Logger: zerolog.Nop()}.Run(ctx, listener)
	}()
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			tb.Errorf("serving: got error %v, want none", err)
		}
	})
}

// reply adds the checks of this package to an answer.
type reply struct{ roomlinktest.Reply }

// edit changes a request before it is sent.
type edit func(*http.Request)

func withKey(key string) edit { return with("X-API-Key", key) }

func with(name, value string) edit { return func(r *http.Request) { r.Header.Set(name, value) } }

func without(name string) edit { return func(r *http.Request) { r.Header.Del(name) } }

func withBasic(user, password string) edit {
	return func(r *http.Request) {
		r.Header.Del("X-API-Key")
		r.SetBasicAuth(user, password)
	}
}

func withBearer(token string) edit {
	return func(r *http.Request) {
		r.Header.Del("X-API-Key")
		r.Header.Set("Authorization", "Bearer "+token)
	}
}

// post sends JSON to a path of the site, with the API key of [account] unless an edit
// changes that.
func (s *site) post(tb testing.TB, path, body string, edits ...edit) reply {
	tb.Helper()
	return s.send(tb, s.request(tb, http.MethodPost, path, strings.NewReader(body), edits...))
}

func (s *site) request(tb testing.TB, method, path string, body io.Reader, edits ...edit) *http.Request {
	tb.Helper()
	r, err := http.NewRequestWithContext(roomlinktest.Context(tb), method, s.url+path, body)
	if err != nil {
		tb.Fatalf("making a request: %v", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-API-Key", apiKey)
	for _, change := range edits {
		change(r)
	}
	return r
}

func (s *site) send(tb testing.TB, r *http.Request) reply {
	tb.Helper()
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		tb.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return reply{roomlinktest.ReadReply(tb, answer)}
}

// raw sends bytes as they are and reads one answer.
func (s *site) raw(tb testing.TB, text string) reply {
	tb.Helper()
	conn, err := new(net.Dialer).DialContext(roomlinktest.Context(tb), "tcp", s.address)
	if err != nil {
		tb.Fatalf("connecting: %v", err)
	}
	defer conn.Close()
	// The server may answer and close before it has read everything.
	_, _ = io.WriteString(conn, text)
	_ = conn.(*net.TCPConn).CloseWrite()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		tb.Fatalf("reading an answer: %v", err)
	}
	return reply{roomlinktest.ReadReply(tb, answer)}
}

// wantStatus checks the answer to an event.
func (r reply) wantStatus(tb testing.TB, httpStatus int, status string) map[string]string {
	tb.Helper()
	got := r.Flat(tb)
	if r.Status != httpStatus || got["status"] != status {
		tb.Fatalf("got %d %s, want %d with status %q", r.Status, r.Body, httpStatus, status)
	}
	if len(got) != 5 {
		tb.Errorf("got %s, want exactly status, interactionId and three addresses", r.Body)
	}
	return got
}

// automation returns a start from an Automation.
func automation(id string) string {
	return encode(map[string]string{"event": "inbound_call_starts", "interaction_id": id, "contact_id": "contact-1"})
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // the tests give maps of strings
	}
	return string(data)
}

func sample(tb testing.TB, name string) string {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatalf("reading a sample: %v", err)
	}
	return string(data)
}

// stored returns the event of a conversation as the stream has it.
func (s *site) stored(tb testing.TB, account, id string) *jetstream.RawStreamMsg {
	tb.Helper()
	conversation := messages.Conversation{Account: account, InteractionID: id}
	msg, err := s.stream(tb).GetLastMsgForSubject(roomlinktest.Context(tb), conversation.EventSubject())
	if err != nil {
		tb.Fatalf("reading the event of %q in %q: %v", id, account, err)
	}
	return msg
}

func (s *site) stream(tb testing.TB) jetstream.Stream {
	tb.Helper()
	return roomlinktest.Stream(tb, s.store, messages.ConversationsStream)
}

func (s *site) wantStored(tb testing.TB, want uint64) {
	tb.Helper()
	if got := s.stream(tb).CachedInfo().State.Msgs; got != want {
		tb.Errorf("events in the queue: got %d, want %d", got, want)
	}
}

// events returns the number of calls with an outcome.
func (s *site) events(tb testing.TB, account, outcome string) float64 {
	tb.Helper()
	return roomlinktest.SumMetric(tb, s.registry, "roomlink_events_total", "account", account, "outcome", outcome)
}
