package broker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

func TestStrangersCannotConnect(t *testing.T) {
	f := newFixture(t, "acme")
	for what, option := range map[string]nats.Option{
		"without credentials":          nats.Name("stranger"),
		"with a wrong password":        nats.UserInfo(broker.SubscriberUser, "wrong"),
		"with an empty password":       nats.UserInfo(broker.OperatorUser, ""),
		"as an unknown user":           nats.UserInfo("admin", f.password(t, broker.OperatorUser).Reveal()),
		"as a part without a password": nats.UserInfo("roomlink", ""),
		"with another user's password": nats.UserInfo(broker.OperatorUser, f.password(t, broker.SubscriberUser).Reveal()),
	} {
		nc, err := nats.Connect(f.Address(), option)
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("connecting %s: got error %v, want %v", what, err, nats.ErrAuthorization)
		}
		if nc != nil {
			nc.Close()
		}
	}
}

func TestPasswordFiles(t *testing.T) {
	for name, test := range map[string]struct{ accounts, users []string }{
		"no account":   {nil, []string{"operator"}},
		"one account":  {[]string{"acme"}, []string{"operator", "subscriber"}},
		"two accounts": {[]string{"acme", "other"}, []string{"operator", "subscriber-acme", "subscriber-other"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, test.accounts...)
			var users, passwords []string
			for _, user := range test.users {
				info, err := os.Stat(broker.PasswordFile(f.dir, user))
				if err != nil || info.Mode() != 0o600 {
					t.Fatalf("file of %q: got mode %v and error %v, want 0600", user, info.Mode(), err)
				}
				passwords = append(passwords, f.password(t, user).Reveal())
			}
			files, err := filepath.Glob(filepath.Join(f.dir, "*.password"))
			for _, file := range files {
				users = append(users, strings.TrimSuffix(filepath.Base(file), ".password"))
			}
			if slices.Sort(users); err != nil || !slices.Equal(users, test.users) {
				t.Errorf("users: got %q and error %v, want %q", users, err, test.users)
			}
			slices.Sort(passwords)
			if got := len(slices.Compact(passwords)); got != len(test.users) || len(passwords[0]) < 20 {
				t.Errorf("passwords: got %d different ones, want %d with at least 20 characters", got, len(test.users))
			}
		})
	}
}

func TestPasswordsSurviveRestart(t *testing.T) {
	f := newFixture(t, "acme")
	want := f.password(t, broker.SubscriberUser)
	f.Close()
	again := fixture{Broker: embed(t, config(f.dir, "acme")), dir: f.dir}
	if again.password(t, broker.SubscriberUser) != want {
		t.Error("password: got a new one after a restart, want the same")
	}
	again.user(t, broker.SubscriberUser)
}

func TestSubscriberReadsLinksOfItsAccount(t *testing.T) {
	f := newFixture(t, "acme")
	publishLinks(t, f.parts, "acme", "a")
	publishLinks(t, f.parts, "other", "b")
	subscriber := f.user(t, broker.SubscriberUser)
	reader := messages.NewSubscriber(subscriber.JetStream())
	links, err := reader.Links(roomlinktest.Context(t), conversation("acme", "a"))
	if err != nil || links.Data.InteractionID != "a" {
		t.Errorf("links: got %q and error %v, want %q", links.Data.InteractionID, err, "a")
	}
	_, err = reader.Links(roomlinktest.Context(t), conversation("acme", "none"))
	if !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("missing links: got error %v, want %v", err, messages.ErrNotFound)
	}
	wantWatched(t, subscriber, "acme", "a")
	if len(subscriber.refused) > 0 {
		t.Errorf("refused: got %v, want nothing", <-subscriber.refused)
	}
}

// wantWatched compares the first links that Watch delivers.
func wantWatched(t *testing.T, subscriber userClient, account, want string) {
	t.Helper()
	stop := errors.New("stop")
	var got string
	err := messages.NewSubscriber(subscriber.JetStream()).Watch(roomlinktest.Context(t), account, messages.WatchOptions{},
		func(links messages.Stored[messages.Links]) error {
			got = links.Data.InteractionID
			return stop
		})
	if !errors.Is(err, stop) || got != want {
		t.Errorf("watching %q: got %q and error %v, want %q", account, got, err, want)
	}
}

func TestSubscriberWatchesFromNow(t *testing.T) {
	f := newFixture(t, "acme")
	publishLinks(t, f.parts, "acme", "before")
	subscriber := f.user(t, broker.SubscriberUser)
	created := make(chan *nats.Msg, 8)
	_, err := f.parts.JetStream().Conn().ChanSubscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.>", created)
	if err != nil {
		t.Fatalf("subscribing to advisories: %v", err)
	}
	watched := roomlinktest.Watch(t, subscriber.Store, messages.WatchOptions{FromNow: true})
	roomlinktest.Receive(t, created, "the watch's consumer")
	publishLinks(t, f.parts, "acme", "after")
	if got := roomlinktest.Receive(t, watched, "links").Data.InteractionID; got != "after" {
		t.Errorf("watched: got %q, want %q", got, "after")
	}
}

func TestWatchSurvivesRestart(t *testing.T) {
	f := newFixture(t, "acme")
	publishLinks(t, f.parts, "acme", "before")
	watched := roomlinktest.Watch(t, f.user(t, broker.SubscriberUser).Store, messages.WatchOptions{})
	roomlinktest.Receive(t, watched, "the first links")
	address := strings.TrimPrefix(f.Address(), "nats://")
	f.Close()

	again := config(f.dir, "acme")
	again.Listen = address
	js, err := embed(t, again).Connect("test")
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	publishLinks(t, store.New(js), "acme", "after")
	if got := roomlinktest.Receive(t, watched, "the links after the restart").Data.InteractionID; got != "after" {
		t.Errorf("watched: got %q, want %q", got, "after")
	}
}

// forbiddenRequests are subjects that the only subscriber, of account acme, must not publish
// to.
var forbiddenRequests = []string{
	"$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links.other.a",
	"$JS.API.DIRECT.GET.ROOMLINK_LINKS",
	"$JS.API.DIRECT.GET.ROOMLINK_DEAD_LETTERS.roomlink.deadletters.acme.a",
	"$JS.API.CONSUMER.CREATE.ROOMLINK_LINKS.mine.roomlink.links.other.*",
	"$JS.API.CONSUMER.CREATE.ROOMLINK_LINKS.mine.roomlink.links.>",
	"$JS.API.CONSUMER.CREATE.ROOMLINK_LINKS.mine",
	"$JS.API.CONSUMER.CREATE.ROOMLINK_LINKS",
	"$JS.API.CONSUMER.DURABLE.CREATE.ROOMLINK_LINKS.mine",
	"$JS.API.CONSUMER.CREATE.ROOMLINK_CONVERSATIONS.mine.roomlink.conversations.acme.*",
	"$JS.API.CONSUMER.CREATE.ROOMLINK_DEAD_LETTERS.mine.roomlink.deadletters.acme.*",
	"$JS.API.CONSUMER.MSG.NEXT.ROOMLINK_CONVERSATIONS.rooms-acme",
	"$JS.API.CONSUMER.NAMES.ROOMLINK_LINKS",
	"$JS.API.CONSUMER.DELETE.ROOMLINK_CONVERSATIONS.rooms-acme",
	"$JS.API.STREAM.INFO.ROOMLINK_LINKS",
	"$JS.API.STREAM.NAMES",
	"$JS.API.STREAM.MSG.GET.ROOMLINK_LINKS",
	"$JS.API.STREAM.MSG.GET.ROOMLINK_CONVERSATIONS",
	"$JS.API.STREAM.PURGE.ROOMLINK_LINKS",
	"$JS.API.STREAM.DELETE.ROOMLINK_LINKS",
	"$JS.API.STREAM.SNAPSHOT.ROOMLINK_LINKS",
	"$JS.API.STREAM.CREATE.MINE",
	"$JS.API.INFO",
	"$JS.ACK.ROOMLINK_CONVERSATIONS.rooms-acme.1.1.1.1.0",
	"$SYS.REQ.SERVER.PING",
	"roomlink.conversations.acme.a",
	"roomlink.links.acme.a",
	"roomlink.deadletters.acme.a",
	"_INBOX_ROOMLINK.a",
}

// forbiddenSubscriptions are subjects that no user may subscribe to.
var forbiddenSubscriptions = []string{
	">", "roomlink.>", "roomlink.links.acme.*", "roomlink.conversations.>", "$JS.API.>", "$JS.EVENT.>", "$JS.ACK.>",
	"$SYS.>", "_INBOX_ROOMLINK.>", "*.>",
}

func TestSubscriberHasNoOtherPermission(t *testing.T) {
	f := newFixture(t, "acme")
	subscriber := f.user(t, broker.SubscriberUser)
	wantNoPublish(t, subscriber, forbiddenRequests...)
	wantNoSubscription(t, subscriber, append([]string{"_INBOX_OPERATOR.>"}, forbiddenSubscriptions...)...)
}

func wantNoPublish(t *testing.T, c userClient, subjects ...string) {
	t.Helper()
	for _, subject := range subjects {
		if err := c.nc.PublishRequest(subject, c.nc.NewRespInbox(), nil); err != nil {
			t.Fatalf("publishing to %q: %v", subject, err)
		}
		wantViolation(t, c, subject)
	}
}

func wantNoSubscription(t *testing.T, c userClient, subjects ...string) {
	t.Helper()
	for _, subject := range subjects {
		if _, err := c.nc.SubscribeSync(subject); err != nil {
			t.Fatalf("subscribing to %q: %v", subject, err)
		}
		wantViolation(t, c, subject)
	}
}

func wantViolation(t *testing.T, c userClient, subject string) {
	t.Helper()
	err := roomlinktest.Receive(t, c.refused, fmt.Sprintf("the refusal of %q", subject))
	if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), `"`+subject+`"`) {
		t.Errorf("using %q: got error %v, want %v", subject, err, nats.ErrPermissionViolation)
	}
}

// The permission covers a subject. The body of a request must not name another subject.
func TestSubscriberCannotWidenRequestInBody(t *testing.T) {
	f := newFixture(t, "acme")
	publishLinks(t, f.parts, "other", "a")
	publishLinks(t, f.parts, "acme", "a")
	subscriber := f.user(t, broker.SubscriberUser)
	for _, filters := range []string{
		`"filter_subject":"roomlink.links.other.*"`, `"filter_subjects":["roomlink.links.other.*"]`,
		`"filter_subjects":["roomlink.links.acme.*","roomlink.links.other.*"]`, `"description":"no filter"`,
	} {
		body := `{"stream_name":"ROOMLINK_LINKS","config":{"name":"mine","ack_policy":"none",` + filters + `}}`
		answer := request(t, subscriber, "$JS.API.CONSUMER.CREATE.ROOMLINK_LINKS.mine.roomlink.links.acme.*", body)
		var refusal struct{ Error *struct{ Description string } }
		if err := json.Unmarshal(answer.Data, &refusal); err != nil || refusal.Error == nil {
			t.Errorf("consumer with %s: got %s, want a refusal", filters, answer.Data)
		}
	}
	for _, body := range []string{
		`{"seq":1}`, `{"last_by_subj":"roomlink.links.other.a"}`, `{"multi_last":["roomlink.links.>"]}`,
		`{"next_by_subj":"roomlink.links.>","seq":1}`, `{"batch":10}`,
	} {
		answer := request(t, subscriber, "$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links.acme.a", body)
		if got := answer.Header.Get("Status"); got != "408" || len(answer.Data) > 0 {
			t.Errorf("direct get of %s: got status %q and %s, want 408", body, got, answer.Data)
		}
	}
}

func request(t *testing.T, c userClient, subject, body string) *nats.Msg {
	t.Helper()
	answer, err := c.nc.RequestWithContext(roomlinktest.Context(t), subject, []byte(body))
	if err != nil {
		t.Fatalf("asking %q: %v", subject, err)
	}
	return answer
}

// NATS checks the subject of a request, but not its reply subject. The empty reply of a
// direct get without a result would be a valid request to purge or delete a stream.
func TestSubscriberCannotForgeReplySubject(t *testing.T) {
	f := newFixture(t, "acme")
	publishLinks(t, f.parts, "acme", "a")
	subscriber := f.user(t, broker.SubscriberUser)
	requests := make(chan *nats.Msg, 8)
	if _, err := f.parts.JetStream().Conn().ChanSubscribe("$JS.API.STREAM.>", requests); err != nil {
		t.Fatalf("subscribing: %v", err)
	}
	for _, call := range []string{"PURGE", "DELETE"} {
		err := subscriber.nc.PublishRequest("$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links.acme.none",
			"$JS.API.STREAM."+call+".ROOMLINK_LINKS", nil)
		if err != nil {
			t.Fatalf("publishing: %v", err)
		}
	}
	// The broker answers requests in order, so it has answered the forged ones before these.
	for range 2 {
		_, err := subscriber.Links(roomlinktest.Context(t), conversation("acme", "a"), store.Any)
		if err != nil {
			t.Errorf("links: got error %v, want none", err)
		}
	}
	if err := f.parts.JetStream().Conn().FlushWithContext(roomlinktest.Context(t)); err != nil || len(requests) > 0 {
		t.Errorf("received by the API: got %d requests and error %v, want none", len(requests), err)
	}
}

// A push consumer delivers to a subject of the requester's choice. Its empty heartbeats would
// be valid requests there too.
func TestSubscriberCannotForgeDeliverySubject(t *testing.T) {
	f := newFixture(t, "acme")
	publishLinks(t, f.parts, "acme", "a")
	subscriber := f.user(t, broker.SubscriberUser)
	for i, target := range []string{
		"roomlink.conversations.acme.forged", "roomlink.links.acme.forged",
		"$JS.API.STREAM.DELETE.ROOMLINK_LINKS", "$JS.API.STREAM.PURGE.ROOMLINK_LINKS",
	} {
		name := fmt.Sprintf("push-%d", i)
		body := fmt.Sprintf(`{"stream_name":"ROOMLINK_LINKS","config":{"name":%q,"deliver_subject":%q,"ack_policy":"none",`+
			`"filter_subject":"roomlink.links.acme.*","deliver_policy":"all","idle_heartbeat":100000000}}`, name, target)
		request(t, subscriber, "$JS.API.CONSUMER.CREATE.ROOMLINK_LINKS."+name+".roomlink.links.acme.*", body)
	}
	// A permitted consumer has delivered both links, so the push consumers had their turn.
	publishLinks(t, f.parts, "acme", "b")
	watched := roomlinktest.Watch(t, subscriber.Store, messages.WatchOptions{})
	for range 2 {
		roomlinktest.Receive(t, watched, "links")
	}
	for _, id := range []string{"a", "b"} {
		if _, err := f.parts.Links(roomlinktest.Context(t), conversation("acme", id), store.Leader); err != nil {
			t.Errorf("links of %q: got error %v, want none", id, err)
		}
	}
	state, err := f.parts.State(roomlinktest.Context(t), conversation("acme", "forged"), time.Now())
	if err != nil || state.Status != store.StatusUnknown {
		t.Errorf("state of an unknown conversation: got %q and error %v, want %q", state.Status, err, store.StatusUnknown)
	}
}

func TestEachAccountHasItsOwnSubscriber(t *testing.T) {
	f := newFixture(t, "acme", "other")
	publishLinks(t, f.parts, "acme", "a")
	publishLinks(t, f.parts, "other", "b")
	acme := f.user(t, broker.SubscriberName("acme"), nats.CustomInboxPrefix("_INBOX_acme"))
	other := f.user(t, broker.SubscriberName("other"), nats.CustomInboxPrefix("_INBOX_other"))
	for _, test := range []struct {
		subscriber  userClient
		account, id string
	}{{acme, "acme", "a"}, {other, "other", "b"}} {
		links, err := test.subscriber.Links(roomlinktest.Context(t), conversation(test.account, test.id), store.Any)
		if err != nil || links.Data.InteractionID != test.id {
			t.Errorf("links of %q: got %q and error %v, want %q", test.account, links.Data.InteractionID, err, test.id)
		}
		wantWatched(t, test.subscriber, test.account, test.id)
	}
	wantNoPublish(t, other, "$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links.acme.a",
		"$JS.API.CONSUMER.CREATE.ROOMLINK_LINKS.mine.roomlink.links.acme.*")
	wantNoPublish(t, acme, "$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links.other.b")
	wantNoSubscription(t, other, append([]string{"_INBOX.>", "_INBOX_acme.>", "_INBOX_OPERATOR.>"}, forbiddenSubscriptions...)...)
}

func TestOperatorReplaysDeadLetters(t *testing.T) {
	f := newFixture(t, "acme", "other")
	publishDeadLetter(t, f.parts, "acme", "a")
	publishDeadLetter(t, f.parts, "other", "b")
	operator := f.operator(t)
	var ids []string
	err := operator.DeadLetters(roomlinktest.Context(t), "", func(letter messages.Stored[messages.DeadLetter]) error {
		ids = append(ids, letter.Data.InteractionID)
		_, err := operator.Replay(roomlinktest.Context(t), letter)
		return err
	})
	if err != nil || !slices.Equal(ids, []string{"a", "b"}) {
		t.Errorf("dead letters: got %q and error %v, want a and b", ids, err)
	}
	state, err := operator.State(roomlinktest.Context(t), conversation("acme", "a"), roomlinktest.Noon.Time)
	if err != nil || state.Status != store.StatusPending {
		t.Errorf("state after the replay: got %q and error %v, want %q", state.Status, err, store.StatusPending)
	}
}

// A subscriber sees that the operator revoked links.
func TestOperatorRevokesLinks(t *testing.T) {
	f := newFixture(t, "acme")
	publishLinks(t, f.parts, "acme", "a")
	if _, err := f.operator(t).Revoke(roomlinktest.Context(t), conversation("acme", "a"), time.Now()); err != nil {
		t.Fatalf("revoking as operator: %v", err)
	}
	watched := roomlinktest.Watch(t, f.user(t, broker.SubscriberUser).Store, messages.WatchOptions{})
	if got := roomlinktest.Receive(t, watched, "the revoked links").Data; !got.Revoked() || got.InteractionID != "a" {
		t.Errorf("watched: got %q, revoked: %t, want a revoked %q", got.InteractionID, got.Revoked(), "a")
	}
}

// operator connects like our own commands.
func (f fixture) operator(t *testing.T) *store.Store {
	t.Helper()
	b, err := broker.Dial(roomlinktest.Context(t), broker.RemoteConfig{
		URL: f.Address(), User: broker.OperatorUser, Password: f.password(t, broker.OperatorUser), Operator: true,
	})
	if err != nil {
		t.Fatalf("dialling as operator: %v", err)
	}
	t.Cleanup(b.Close)
	js, err := b.Connect("operator")
	if err != nil {
		t.Fatalf("connecting as operator: %v", err)
	}
	return store.New(js)
}

func TestOperatorCannotOverhear(t *testing.T) {
	f := newFixture(t, "acme")
	operator := f.user(t, broker.OperatorUser, nats.CustomInboxPrefix("_INBOX_OPERATOR"))
	wantNoSubscription(t, operator, append([]string{"_INBOX.>"}, forbiddenSubscriptions...)...)
	wantNoPublish(t, operator, "$SYS.REQ.SERVER.PING", "_INBOX_ROOMLINK.a")
}

// The replies to our own requests contain tickets.
func TestRepliesToPartsArePrivate(t *testing.T) {
	f := newFixture(t, "acme")
	overheard := make(chan *nats.Msg, 256)
	for user, inbox := range map[string]string{
		broker.SubscriberUser: "_INBOX", broker.OperatorUser: "_INBOX_OPERATOR",
	} {
		nc := f.user(t, user, nats.CustomInboxPrefix(inbox)).nc
		if _, err := nc.ChanSubscribe(inbox+".>", overheard); err != nil {
			t.Fatalf("subscribing: %v", err)
		}
		defer func() {
			if err := nc.FlushWithContext(roomlinktest.Context(t)); err != nil || len(overheard) > 0 {
				t.Errorf("overheard as %q: got %d messages and error %v, want none", user, len(overheard), err)
			}
		}()
		if err := nc.FlushWithContext(roomlinktest.Context(t)); err != nil {
			t.Fatalf("subscribing: %v", err)
		}
	}
	publishLinks(t, f.parts, "acme", "a")
	for _, from := range []store.Consistency{store.Any, store.Leader} {
		if _, err := f.parts.Links(roomlinktest.Context(t), conversation("acme", "a"), from); err != nil {
			t.Fatalf("reading the links: %v", err)
		}
	}
	wantWatched(t, userClient{Store: f.parts}, "acme", "a")
	if _, err := f.parts.State(roomlinktest.Context(t), conversation("acme", "a"), time.Now()); err != nil {
		t.Fatalf("reading the state: %v", err)
	}
}
