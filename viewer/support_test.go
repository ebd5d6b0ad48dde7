package viewer_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"roomlink/internal/access"
	"roomlink/internal/accounts"
	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/secret"
	"roomlink/internal/store"
	"roomlink/internal/web"
	"roomlink/messages"
	"roomlink/viewer"
)

// The accounts of the tests, their invented credentials, and the URLs of a room.
const (
	account = roomlinktest.Account
	other   = "globex"

	linkKey  = secret.String("an invented link key of these tests")
	apiKey   = "acme-invented-api-key"
	otherKey = "globex-invented-api-key"

	agentURL     = "https://video.example/agent?room=1&as=agent"
	recordingURL = "https://video.example/recording/1"
	ticketURL    = "https://video.example/t/invented-ticket"

	ancestors = "https://*.mytalkdesk.com https://desk.example"
)

// later is a time long after the tests.
var later = messages.At(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))

// site is a viewer with its broker, served as in production.
type site struct {
	url    string
	broker *broker.Broker
	store  *store.Store
	pages  access.Pages
	config viewer.Config
	viewer *viewer.Viewer
	// wrap wraps the handler of the viewer; nil for none.
	wrap func(http.Handler) http.Handler
	// through wraps the listener; nil for none.
	through func(net.Listener) net.Listener
	// answerTimeout is the time limit of an answer; 0 for the default.
	answerTimeout time.Duration
	// stop stops the server. done is closed once the server has stopped.
	stop func()
	done <-chan struct{}
}

func newSite(tb testing.TB, edits ...func(*site)) *site {
	tb.Helper()
	b := roomlinktest.StartBroker(tb)
	s := &site{broker: b, store: roomlinktest.Store(tb, b)}
	keys, err := access.NewKeys(linkKey)
	if err != nil {
		tb.Fatalf("making keys: %v", err)
	}
	withKey := func(name, keyName string, key secret.String) accounts.Account {
		return accounts.Account{Name: name, Talkdesk: accounts.Talkdesk{Credentials: accounts.Credentials{
			APIKeys: []accounts.APIKey{{Name: keyName, Key: key}},
		}}}
	}
	both := []accounts.Account{withKey(account, "acme key", apiKey), withKey(other, "globex key", otherKey)}
	authenticator, err := access.NewAuthenticator(access.Config{Keys: keys, Accounts: both})
	if err != nil {
		tb.Fatalf("making an authenticator: %v", err)
	}
	listener := listen(tb, "127.0.0.1:0")
	s.url = "http://" + listener.Addr().String()
	s.pages = access.Pages{Keys: keys, BaseURL: s.url, Lifetime: time.Hour}
	s.config = viewer.Config{
		Store: s.store, Authenticator: authenticator, Pages: s.pages, Accounts: both,
		FrameAncestors: strings.Fields(ancestors), Logger: zerolog.Nop(),
	}
	for _, edit := range edits {
		edit(s)
	}
	s.serve(tb, listener)
	return s
}

func listen(tb testing.TB, address string) net.Listener {
	tb.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	return listener
}

// serve starts a viewer on the listener.
func (s *site) serve(tb testing.TB, listener net.Listener) {
	tb.Helper()
	feed := store.NewFeed(s.store)
	config := s.config
	config.Feed = feed
	router := web.NewRouter()
	router.Use(web.Logged(zerolog.Nop()))
	s.viewer = viewer.New(config)
	s.viewer.Routes(router)
	var handler http.Handler = router
	if s.wrap != nil {
		handler = s.wrap(router)
	}
	if s.through != nil {
		listener = s.through(listener)
	}
	s.run(tb, feed, listener, handler)
}

// halt stops the server and waits for its end.
func (s *site) halt(tb testing.TB) {
	tb.Helper()
	s.stop()
	roomlinktest.Receive(tb, s.done, "the end of the server")
}

// restart starts another server on the same address.
func (s *site) restart(tb testing.TB) {
	tb.Helper()
	s.serve(tb, listen(tb, strings.TrimPrefix(s.url, "http://")))
}

// run runs the server and the feed until the test ends.
func (s *site) run(tb testing.TB, feed *store.Feed, listener net.Listener, handler http.Handler) {
	tb.Helper()
	ctx, stop := context.WithCancel(tb.Context())
	fed, served := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(fed)
		_ = feed.Run(ctx)
	}()
	go func() {
		defer close(served)
		server := web.Server{
			Handler: handler, Grace: 10 * time.Second, AnswerTimeout: s.answerTimeout, Logger: zerolog.Nop(),
		}
		if err := server.Run(ctx, listener); err != nil {
			tb.Errorf("serving: got error %v, want none", err)
		}
	}()
	s.stop, s.done = stop, served
	tb.Cleanup(func() {
		stop()
		<-served
		<-fed
	})
}

// start stores an event that asks for the links after the given generation.
func (s *site) start(tb testing.TB, named messages.Conversation, renews int) {
	tb.Helper()
	roomlinktest.Publish(tb, s.store, messages.NewEvent(roomlinktest.Noon, messages.Started{
		Request: messages.Request{Conversation: named, CustomerID: "contact-1"},
		Channel: messages.ChannelVoice, Source: messages.SourceAutomation, ReceivedAt: roomlinktest.Noon, Renews: renews,
	}))
}

// links stores the first links of a conversation, changed by the edits.
func (s *site) links(tb testing.TB, named messages.Conversation, edits ...func(*messages.Links)) {
	tb.Helper()
	data := messages.Links{
		Request:  messages.Request{Conversation: named, CustomerID: "contact-1"},
		AgentURL: agentURL, RecordingURL: recordingURL, TicketURL: ticketURL,
		CreatedAt: roomlinktest.Noon, ExpiresAt: later, Generation: 1,
	}
	for _, edit := range edits {
		edit(&data)
	}
	roomlinktest.PublishLinks(tb, s.store, messages.NewEvent(roomlinktest.Noon, data), 0)
}

// renewed replaces the links of a conversation.
func (s *site) renewed(tb testing.TB, named messages.Conversation, edits ...func(*messages.Links)) {
	tb.Helper()
	old, err := s.store.Links(roomlinktest.Context(tb), named, store.Leader)
	if err != nil {
		tb.Fatalf("reading the links of %q: %v", named.InteractionID, err)
	}
	data := old.Data
	data.Generation++
	data.ExpiresAt = later
	for _, edit := range edits {
		edit(&data)
	}
	roomlinktest.PublishLinks(tb, s.store, messages.NewEvent(roomlinktest.Noon, data), old.Sequence)
}

// notRevoked gives links new URLs.
func notRevoked(l *messages.Links) {
	l.AgentURL, l.RecordingURL, l.TicketURL, l.RevokedAt = agentURL, recordingURL, ticketURL, messages.Time{}
}

func expired(l *messages.Links) { l.ExpiresAt = messages.At(roomlinktest.Noon.AddDate(-20, 0, 0)) }

// fail stores a dead letter.
func (s *site) fail(tb testing.TB, named messages.Conversation, reason string) {
	tb.Helper()
	roomlinktest.PublishDeadLetter(tb, s.store, messages.NewEvent(roomlinktest.Noon, messages.DeadLetter{
		Conversation: named, Reason: reason, Detail: "invented",
		Attempts: 1, AcceptedAt: roomlinktest.Noon, LastAttemptAt: roomlinktest.Noon, Event: json.RawMessage(`{}`),
	}))
}

// statuses stores a conversation in each status, and uses the status as its id.
func (s *site) statuses(tb testing.TB) {
	tb.Helper()
	s.start(tb, roomlinktest.Conversation("pending"), 0)
	s.links(tb, roomlinktest.Conversation("ready"))
	s.links(tb, roomlinktest.Conversation("endless"), func(l *messages.Links) { l.ExpiresAt, l.RecordingURL = messages.Time{}, "" })
	s.links(tb, roomlinktest.Conversation("expired"), expired)
	s.fail(tb, roomlinktest.Conversation("failed"), messages.ReasonRejected)
	s.links(tb, roomlinktest.Conversation("renewing"), expired)
	s.start(tb, roomlinktest.Conversation("renewing"), 1)
	s.links(tb, roomlinktest.Conversation("renewing early"))
	s.start(tb, roomlinktest.Conversation("renewing early"), 1)
	s.links(tb, roomlinktest.Conversation("renewal failed"))
	s.fail(tb, roomlinktest.Conversation("renewal failed"), messages.ReasonExpired)
	for _, id := range []string{"revoked", "revoked and renewing", "renewal after revocation failed"} {
		s.links(tb, roomlinktest.Conversation(id))
		s.revoke(tb, roomlinktest.Conversation(id))
	}
	s.start(tb, roomlinktest.Conversation("revoked and renewing"), 1)
	s.fail(tb, roomlinktest.Conversation("renewal after revocation failed"), messages.ReasonExpired)
}

// revoke revokes the links of a conversation.
func (s *site) revoke(tb testing.TB, named messages.Conversation) {
	tb.Helper()
	if _, err := s.store.Revoke(roomlinktest.Context(tb), named, time.Now()); err != nil {
		tb.Fatalf("revoking the links of %q: %v", named.InteractionID, err)
	}
}

// reads reports each read of the links of a conversation.
func (s *site) reads(tb testing.TB, named messages.Conversation) <-chan struct{} {
	tb.Helper()
	seen := make(chan struct{}, 64)
	nc := roomlinktest.Connect(tb, s.broker).Conn()
	sub, err := nc.Subscribe("$JS.API.DIRECT.GET."+messages.LinksStream+"."+named.LinksSubject(), func(*nats.Msg) {
		seen <- struct{}{}
	})
	if err != nil {
		tb.Fatalf("listening for reads: %v", err)
	}
	tb.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := nc.FlushWithContext(roomlinktest.Context(tb)); err != nil {
		tb.Fatalf("listening for reads: %v", err)
	}
	return seen
}

// awaitFollower waits until a request with ?wait= follows its conversation. The request
// reads a second time after it has joined the feed.
func awaitFollower(tb testing.TB, reads <-chan struct{}) {
	tb.Helper()
	roomlinktest.Receive(tb, reads, "the read of the state")
	roomlinktest.Receive(tb, reads, "the read of a follower")
}

// reply adds the checks of this package to an answer.
type reply struct{ roomlinktest.Reply }

type edit func(*http.Request)

func withKey(key string) edit { return with("X-API-Key", key) }

func with(name, value string) edit { return func(r *http.Request) { r.Header.Set(name, value) } }

// do calls a path of the site, or an absolute URL. It follows no redirect.
func (s *site) do(tb testing.TB, method, address string, edits ...edit) reply {
	tb.Helper()
	if strings.HasPrefix(address, "/") {
		address = s.url + address
	}
	return call(tb, method, address, edits...)
}

// call calls an absolute URL. It follows no redirect.
func call(tb testing.TB, method, address string, edits ...edit) reply {
	tb.Helper()
	return reply{roomlinktest.ReadReply(tb, open(tb, method, address, edits...))}
}

// open is like call, but leaves the body unread.
func open(tb testing.TB, method, address string, edits ...edit) *http.Response {
	tb.Helper()
	r, err := http.NewRequestWithContext(roomlinktest.Context(tb), method, address, nil)
	if err != nil {
		tb.Fatalf("making a request: %v", err)
	}
	for _, change := range edits {
		change(r)
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		tb.Fatalf("%s %s: %v", method, address, err)
	}
	return answer
}

// wantPage checks for a page with a text in it.
func (r reply) wantPage(tb testing.TB, status int, text string) {
	tb.Helper()
	if r.Status != status || !strings.Contains(r.Body, text) {
		tb.Errorf("got %d:\n%s\nwant %d with %q in it", r.Status, r.Body, status, text)
	}
	if kind := r.Header.Get("Content-Type"); kind != "text/html; charset=utf-8" {
		tb.Errorf("Content-Type: got %q, want HTML", kind)
	}
	if location := r.Header.Get("Location"); location != "" {
		tb.Errorf("Location: got %q, want none", location)
	}
	r.wantSecure(tb)
}

// wantSecure checks the security headers of every page.
func (r reply) wantSecure(tb testing.TB) {
	tb.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "X-Robots-Tag": "noindex, nofollow",
		"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Set-Cookie": "",
	} {
		if got := r.Header.Get(name); got != want {
			tb.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	policy := r.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors "} {
		if !strings.Contains(policy, want) {
			tb.Errorf("Content-Security-Policy: got %q, want %q in it", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		tb.Errorf("Content-Security-Policy: got %q, want nothing unsafe in it", policy)
	}
}

// wantRedirect checks for a redirect without a body.
func (r reply) wantRedirect(tb testing.TB, status int, location string) {
	tb.Helper()
	if got := r.Header.Get("Location"); r.Status != status || got != location || r.Body != "" {
		tb.Errorf("got %d to %q with body %q, want %d to %q", r.Status, got, r.Body, status, location)
	}
	r.wantSecure(tb)
}

// stream is an open event stream.
type stream struct {
	lines *bufio.Scanner
	close func() error
	// last is the version of the last state.
	last string
}

// follow opens the event stream of a page.
func (s *site) follow(tb testing.TB, cardURL string) *stream {
	tb.Helper()
	answer := open(tb, http.MethodGet, cardURL+"/events")
	tb.Cleanup(func() { _ = answer.Body.Close() })
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || kind != "text/event-stream" {
		tb.Fatalf("events: got %d of %q, want 200 of text/event-stream", answer.StatusCode, kind)
	}
	return newStream(answer)
}

func newStream(answer *http.Response) *stream {
	return &stream{lines: bufio.NewScanner(answer.Body), close: answer.Body.Close}
}

// next returns the next state with a new version. ok is false at the end of the stream.
func (s *stream) next(tb testing.TB) (state map[string]string, ok bool) {
	tb.Helper()
	named := false
	for s.lines.Scan() {
		line := s.lines.Text()
		if line == "event: state" {
			named = true
		}
		data, found := strings.CutPrefix(line, "data: ")
		if !found {
			continue
		}
		if err := json.Unmarshal([]byte(data), &state); err != nil || !named {
			tb.Fatalf("event: got %q (named: %v) and error %v, want a state of strings", data, named, err)
		}
		if state["version"] == s.last {
			continue // the stream repeats its state
		}
		s.last = state["version"]
		return state, true
	}
	return nil, false
}

// wantNext checks the status of the next state.
func (s *stream) wantNext(tb testing.TB, want store.Status) map[string]string {
	tb.Helper()
	state, ok := s.next(tb)
	if !ok || state["status"] != string(want) {
		tb.Fatalf("next state: got %v (there: %v) and error %v, want %q", state, ok, s.lines.Err(), want)
	}
	return state
}
