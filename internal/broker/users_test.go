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
	h := newHouse(t, "acme")
	for what, option := range map[string]nats.Option{
		"without credentials":          nats.Name("stranger"),
		"with a wrong password":        nats.UserInfo(broker.SubscriberUser, "wrong"),
		"with an empty password":       nats.UserInfo(broker.OperatorUser, ""),
		"as nobody we know":            nats.UserInfo("admin", h.password(t, broker.OperatorUser).Reveal()),
		"as a part, without its word":  nats.UserInfo("roomlink", ""),
		"with another user's password": nats.UserInfo(broker.OperatorUser, h.password(t, broker.SubscriberUser).Reveal()),
	} {
		nc, err := nats.Connect(h.Address(), option)
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
			h := newHouse(t, test.accounts...)
			var users, passwords []string
			for _, user := range test.users {
				info, err := os.Stat(broker.PasswordFile(h.dir, user))
				if err != nil || info.Mode() != 0o600 {
					t.Fatalf("file of %q: got mode %v and error %v, want 0600", user, info.Mode(), err)
				}
				passwords = append(passwords, h.password(t, user).Reveal())
			}
			files, err := filepath.Glob(filepath.Join(h.dir, "*.password"))
			for _, file := range files {
				users = append(users, strings.TrimSuffix(filepath.Base(file), ".password"))
			}
			if slices.Sort(users); err != nil || !slices.Equal(users, test.users) {
				t.Errorf("users: got %q and error %v, want %q", users, err, test.users)
			}
			slices.Sort(passwords)
			if got := len(slices.Compact(passwords)); got != len(test.users) || len(passwords[0]) < 20 {
				t.Errorf("passwords: got %d different ones, want %d that nobody guesses", got, len(test.users))
			}
		})
	}
}

func TestPasswordsStay(t *testing.T) {
	h := newHouse(t, "acme")
	want := h.password(t, broker.SubscriberUser)
	h.Close()
	again := house{Broker: embed(t, config(h.dir, "acme")), dir: h.dir}
	if again.password(t, broker.SubscriberUser) != want {
		t.Error("password: got another after a restart, want the same")
	}
	again.user(t, broker.SubscriberUser)
}

func TestSubscriberReadsItsAccountsLinks(t *testing.T) {
	h := newHouse(t, "acme")
	publishLinks(t, h.parts, "acme", "a")
	publishLinks(t, h.parts, "other", "b")
	subscriber := h.user(t, broker.SubscriberUser)
	reader := messages.NewSubscriber(subscriber.JetStream())
	links, err := reader.Links(roomlinktest.Context(t), conversation("acme", "a"))
	if err != nil || links.Data.InteractionID != "a" {
		t.Errorf("links: got %q and error %v, want %q", links.Data.InteractionID, err, "a")
	}
	_, err = reader.Links(roomlinktest.Context(t), conversation("acme", "none"))
	if !errors.Is(err, messages.ErrNotFound) {
		t.Errorf("links that are not there: got error %v, want %v", err, messages.ErrNotFound)
	}
	wantWatched(t, subscriber, "acme", "a")
	if len(subscriber.refused) > 0 {
		t.Errorf("refused: got %v, want nothing", <-subscriber.refused)
	}
}

// wantWatched compares the first links that a watch tells of.
func wantWatched(t *testing.T, subscriber outsider, account, want string) {
	t.Helper()
	enough := errors.New("enough")
	var got string
	err := messages.NewSubscriber(subscriber.JetStream()).Watch(roomlinktest.Context(t), account, messages.WatchOptions{},
		func(links messages.Stored[messages.Links]) error {
			got = links.Data.InteractionID
			return enough
		})
	if !errors.Is(err, enough) || got != want {
		t.Errorf("watching %q: got %q and error %v, want %q", account, got, err, want)
	}
}

func TestSubscriberWatchesFromNow(t *testing.T) {
	h := newHouse(t, "acme")
	publishLinks(t, h.parts, "acme", "before")
	subscriber := h.user(t, broker.SubscriberUser)
	begun := make(chan *nats.Msg, 8)
	_, err := h.parts.JetStream().Conn().ChanSubscribe("$JS.EVENT.ADVISORY.CONSUMER.CREATED.>", begun)
	if err != nil {
		t.Fatalf("subscribing to advisories: %v", err)
	}
	told := roomlinktest.Watch(t, subscriber.Store, messages.WatchOptions{FromNow: true})
	roomlinktest.Receive(t, begun, "the watch's consumer")
	publishLinks(t, h.parts, "acme", "after")
	if got := roomlinktest.Receive(t, told, "links").Data.InteractionID; got != "after" {
		t.Errorf("watched: got %q, want %q", got, "after")
	}
}

func TestSubscribersWatchSurvivesARestart(t *testing.T) {
	h := newHouse(t, "acme")
	publishLinks(t, h.parts, "acme", "before")
	told := roomlinktest.Watch(t, h.user(t, broker.SubscriberUser).Store, messages.WatchOptions{})
	roomlinktest.Receive(t, told, "the first links")
	address := strings.TrimPrefix(h.Address(), "nats://")
	h.Close()

	again := config(h.dir, "acme")
	again.Listen = address
	js, err := embed(t, again).Connect("test")
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	publishLinks(t, store.New(js), "acme", "after")
	if got := roomlinktest.Receive(t, told, "the links after the restart").Data.InteractionID; got != "after" {
		t.Errorf("watched: got %q, want %q", got, "after")
	}
}

// What a subscriber of the account acme must not publish to, in a house where it
// is the only one.
var forbiddenToPublish = []string{
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

// What none may listen to.
var forbiddenToHear = []string{
	">", "roomlink.>", "roomlink.links.acme.*", "roomlink.conversations.>", "$JS.API.>", "$JS.EVENT.>", "$JS.ACK.>",
	"$SYS.>", "_INBOX_ROOMLINK.>", "*.>",
}

func TestSubscriberMayDoNothingElse(t *testing.T) {
	h := newHouse(t, "acme")
	subscriber := h.user(t, broker.SubscriberUser)
	wantNoPublish(t, subscriber, forbiddenToPublish...)
	wantNoSubscription(t, subscriber, append([]string{"_INBOX_OPERATOR.>"}, forbiddenToHear...)...)
}

func wantNoPublish(t *testing.T, o outsider, subjects ...string) {
	t.Helper()
	for _, subject := range subjects {
		if err := o.nc.PublishRequest(subject, o.nc.NewRespInbox(), nil); err != nil {
			t.Fatalf("publishing to %q: %v", subject, err)
		}
		wantViolation(t, o, subject)
	}
}

func wantNoSubscription(t *testing.T, o outsider, subjects ...string) {
	t.Helper()
	for _, subject := range subjects {
		if _, err := o.nc.SubscribeSync(subject); err != nil {
			t.Fatalf("subscribing to %q: %v", subject, err)
		}
		wantViolation(t, o, subject)
	}
}

func wantViolation(t *testing.T, o outsider, subject string) {
	t.Helper()
	err := roomlinktest.Receive(t, o.refused, fmt.Sprintf("the refusal of %q", subject))
	if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), `"`+subject+`"`) {
		t.Errorf("using %q: got error %v, want %v", subject, err, nats.ErrPermissionViolation)
	}
}

// The permission is for a subject; the request within must not say another.
func TestSubscriberCannotAskForMoreInTheBody(t *testing.T) {
	h := newHouse(t, "acme")
	publishLinks(t, h.parts, "other", "a")
	publishLinks(t, h.parts, "acme", "a")
	subscriber := h.user(t, broker.SubscriberUser)
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

func request(t *testing.T, o outsider, subject, body string) *nats.Msg {
	t.Helper()
	answer, err := o.nc.RequestWithContext(roomlinktest.Context(t), subject, []byte(body))
	if err != nil {
		t.Fatalf("asking %q: %v", subject, err)
	}
	return answer
}

// NATS checks what a user publishes to, and not where it wants the answer. The
// empty answer of a direct get that finds nothing is a whole request to delete.
func TestSubscriberCannotHaveTheBrokerDoIt(t *testing.T) {
	h := newHouse(t, "acme")
	publishLinks(t, h.parts, "acme", "a")
	subscriber := h.user(t, broker.SubscriberUser)
	done := make(chan *nats.Msg, 8)
	if _, err := h.parts.JetStream().Conn().ChanSubscribe("$JS.API.STREAM.>", done); err != nil {
		t.Fatalf("subscribing: %v", err)
	}
	for _, call := range []string{"PURGE", "DELETE"} {
		err := subscriber.nc.PublishRequest("$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links.acme.none",
			"$JS.API.STREAM."+call+".ROOMLINK_LINKS", nil)
		if err != nil {
			t.Fatalf("publishing: %v", err)
		}
	}
	// The broker answers in order, and so has answered the others before this.
	for range 2 {
		_, err := subscriber.Links(roomlinktest.Context(t), conversation("acme", "a"), store.Any)
		if err != nil {
			t.Errorf("links: got error %v, want none", err)
		}
	}
	if err := h.parts.JetStream().Conn().FlushWithContext(roomlinktest.Context(t)); err != nil || len(done) > 0 {
		t.Errorf("asked of the API: got %d requests and error %v, want none", len(done), err)
	}
}

// A consumer of the pushing kind delivers wherever its request says, and sends
// empty heartbeats there, which are whole requests too.
func TestSubscriberCannotHaveAConsumerDoIt(t *testing.T) {
	h := newHouse(t, "acme")
	publishLinks(t, h.parts, "acme", "a")
	subscriber := h.user(t, broker.SubscriberUser)
	for i, target := range []string{
		"roomlink.conversations.acme.made-up", "roomlink.links.acme.made-up",
		"$JS.API.STREAM.DELETE.ROOMLINK_LINKS", "$JS.API.STREAM.PURGE.ROOMLINK_LINKS",
	} {
		name := fmt.Sprintf("pushing-%d", i)
		body := fmt.Sprintf(`{"stream_name":"ROOMLINK_LINKS","config":{"name":%q,"deliver_subject":%q,"ack_policy":"none",`+
			`"filter_subject":"roomlink.links.acme.*","deliver_policy":"all","idle_heartbeat":100000000}}`, name, target)
		request(t, subscriber, "$JS.API.CONSUMER.CREATE.ROOMLINK_LINKS."+name+".roomlink.links.acme.*", body)
	}
	// By the time that a consumer of the right kind has told of both, so have they.
	publishLinks(t, h.parts, "acme", "b")
	told := roomlinktest.Watch(t, subscriber.Store, messages.WatchOptions{})
	for range 2 {
		roomlinktest.Receive(t, told, "links")
	}
	for _, id := range []string{"a", "b"} {
		if _, err := h.parts.Links(roomlinktest.Context(t), conversation("acme", id), store.Leader); err != nil {
			t.Errorf("links of %q: got error %v, want none", id, err)
		}
	}
	state, err := h.parts.State(roomlinktest.Context(t), conversation("acme", "made-up"), time.Now())
	if err != nil || state.Status != store.StatusUnknown {
		t.Errorf("state of what nobody started: got %q and error %v, want %q", state.Status, err, store.StatusUnknown)
	}
}

func TestEachAccountHasASubscriberOfItsOwn(t *testing.T) {
	h := newHouse(t, "acme", "other")
	publishLinks(t, h.parts, "acme", "a")
	publishLinks(t, h.parts, "other", "b")
	acme := h.user(t, broker.SubscriberName("acme"), nats.CustomInboxPrefix("_INBOX_acme"))
	other := h.user(t, broker.SubscriberName("other"), nats.CustomInboxPrefix("_INBOX_other"))
	for _, test := range []struct {
		subscriber  outsider
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
	wantNoSubscription(t, other, append([]string{"_INBOX.>", "_INBOX_acme.>", "_INBOX_OPERATOR.>"}, forbiddenToHear...)...)
}

func TestOperatorWorksOnDeadLetters(t *testing.T) {
	h := newHouse(t, "acme", "other")
	publishDeadLetter(t, h.parts, "acme", "a")
	publishDeadLetter(t, h.parts, "other", "b")
	operator := h.operator(t)
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

// operator connects as our own commands do.
func (h house) operator(t *testing.T) *store.Store {
	t.Helper()
	b, err := broker.Dial(roomlinktest.Context(t), broker.RemoteConfig{
		URL: h.Address(), User: broker.OperatorUser, Password: h.password(t, broker.OperatorUser), Operator: true,
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

func TestOperatorHearsNobodyElse(t *testing.T) {
	h := newHouse(t, "acme")
	operator := h.user(t, broker.OperatorUser, nats.CustomInboxPrefix("_INBOX_OPERATOR"))
	wantNoSubscription(t, operator, append([]string{"_INBOX.>"}, forbiddenToHear...)...)
	wantNoPublish(t, operator, "$SYS.REQ.SERVER.PING", "_INBOX_ROOMLINK.a")
}

// The answers to our own requests hold tickets.
func TestNobodyOverhearsTheParts(t *testing.T) {
	h := newHouse(t, "acme")
	overheard := make(chan *nats.Msg, 256)
	for user, inbox := range map[string]string{
		broker.SubscriberUser: "_INBOX", broker.OperatorUser: "_INBOX_OPERATOR",
	} {
		nc := h.user(t, user, nats.CustomInboxPrefix(inbox)).nc
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
	publishLinks(t, h.parts, "acme", "a")
	for _, from := range []store.Consistency{store.Any, store.Leader} {
		if _, err := h.parts.Links(roomlinktest.Context(t), conversation("acme", "a"), from); err != nil {
			t.Fatalf("reading the links: %v", err)
		}
	}
	wantWatched(t, outsider{Store: h.parts}, "acme", "a")
	if _, err := h.parts.State(roomlinktest.Context(t), conversation("acme", "a"), time.Now()); err != nil {
		t.Fatalf("reading the state: %v", err)
	}
}
