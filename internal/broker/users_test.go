package broker_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// The subscribers of the tests. Their names look alike, and one may read dead letters.
var (
	crm    = broker.Subscriber{Account: "acme", Name: "crm"}
	euCRM  = broker.Subscriber{Account: "acme", Name: "eu-crm", Password: "123456"}
	crmEU  = broker.Subscriber{Account: "acme-eu", Name: "crm", Password: "8GB"}
	failed = broker.Subscriber{Account: "acme-eu", Name: "failed", Password: "$2 {quoted} \"'", DeadLetters: true}
	all    = []broker.Subscriber{crm, euCRM, crmEU, failed}
)

func TestStrangersCannotConnect(t *testing.T) {
	f := newFixture(t, crm)
	for what, option := range map[string]nats.Option{
		"without credentials":          nats.Name("stranger"),
		"with a wrong password":        nats.UserInfo(crm.User(), "wrong"),
		"with an empty password":       nats.UserInfo("operator", ""),
		"as an unknown user":           nats.UserInfo("admin", f.password(t, "operator").Reveal()),
		"as a part without a password": nats.UserInfo("worker", ""),
		"with another user's password": nats.UserInfo("operator", f.password(t, crm.User()).Reveal()),
		"as a former subscriber":       nats.UserInfo("subscriber", f.password(t, crm.User()).Reveal()),
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
	f := newFixture(t, all...)
	var passwords []string
	for _, user := range []string{"operator", crm.User()} {
		file := broker.OperatorPassword(f.dir)
		if user != "operator" {
			file = broker.SubscriberPassword(f.dir, user)
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode() != 0o600 {
			t.Fatalf("file of %q: got mode %v and error %v, want 0600", user, info.Mode(), err)
		}
		passwords = append(passwords, f.password(t, user).Reveal())
	}
	if passwords[0] == passwords[1] || len(passwords[0]) < 20 {
		t.Error("passwords: got equal or short ones, want different ones with at least 20 characters")
	}
	files, err := filepath.Glob(filepath.Join(f.dir, "subscribers", "*"))
	if err != nil || len(files) != 1 {
		t.Errorf("files of subscribers: got %q and error %v, want only that of %q", files, err, crm.User())
	}
	f.Close()
	again := fixture{Broker: embed(t, config(f.dir, crm)), dir: f.dir}
	if again.password(t, crm.User()).Reveal() != passwords[1] {
		t.Error("password: got a new one after a restart, want the same")
	}
	again.user(t, crm.User())
}

// provisionSubscriber makes the durable consumers of a subscriber.
func provisionSubscriber(t *testing.T, js jetstream.JetStream, s broker.Subscriber) {
	t.Helper()
	durables := map[string]string{messages.LinksStream: messages.LinksSubjects}
	if s.DeadLetters {
		durables[messages.DeadLettersStream] = messages.DeadLetterSubjects
	}
	for stream, subjects := range durables {
		_, err := js.CreateOrUpdateConsumer(roomlinktest.Context(t), stream, jetstream.ConsumerConfig{
			Durable: messages.DurableName(s.Account, s.Name), FilterSubject: subjects + s.Account + ".*",
			AckPolicy: jetstream.AckExplicitPolicy,
		})
		if err != nil {
			t.Fatalf("making the consumer of %q on %q: %v", s.User(), stream, err)
		}
	}
}

// brokers runs a test on the embedded broker, and on an external one with the printed
// configuration. connect connects as a subscriber.
func brokers(t *testing.T, run func(t *testing.T, parts *store.Store, connect func(*testing.T, broker.Subscriber) userClient)) {
	t.Run("embedded", func(t *testing.T) {
		f := newFixture(t, all...)
		run(t, f.parts, func(t *testing.T, s broker.Subscriber) userClient {
			password := s.Password
			if password == "" {
				password = f.password(t, s.User())
			}
			return connectUser(t, f.Address(), s.User(), password)
		})
	})
	t.Run("external", func(t *testing.T) {
		known := slices.Clone(all)
		known[0].Password = "invented-crm"
		url := roomlinktest.StartDeployedServer(t, known...).ClientURL()
		provisioner := dialDeployed(t, url, broker.RoleProvisioner)
		if err := store.Provision(roomlinktest.Context(t), provisioner.JetStream(), store.StreamSettings{}); err != nil {
			t.Fatalf("provisioning: %v", err)
		}
		run(t, dialDeployed(t, url, broker.RoleOperator), func(t *testing.T, s broker.Subscriber) userClient {
			i := slices.IndexFunc(known, func(k broker.Subscriber) bool { return k.User() == s.User() })
			return connectUser(t, url, s.User(), known[i].Password)
		})
	})
}

func TestSubscriberReadsItsAccount(t *testing.T) {
	brokers(t, func(t *testing.T, parts *store.Store, connect func(*testing.T, broker.Subscriber) userClient) {
		for _, s := range all {
			provisionSubscriber(t, parts.JetStream(), s)
		}
		for _, s := range all {
			client := connect(t, s)
			live, err := client.nc.SubscribeSync(messages.LiveSubjects + s.Account + ".*")
			if err := errors.Join(err, client.nc.FlushWithContext(roomlinktest.Context(t))); err != nil {
				t.Fatalf("following as %q: %v", s.User(), err)
			}
			id := "links-for-" + messages.DurableName(s.Account, s.Name)
			publishLinks(t, parts, s.Account, id)
			publishLinks(t, parts, "other", id)
			if msg, err := live.NextMsgWithContext(roomlinktest.Context(t)); err != nil || !strings.HasSuffix(msg.Subject, "."+id) {
				t.Errorf("followed as %q: got %v and error %v, want %q", s.User(), msg, err, id)
			}
			links, err := messages.GetDirect(roomlinktest.Context(t), client.JetStream(), messages.LinksStream,
				conversation(s.Account, id).LinksSubject())
			if err != nil || !strings.HasSuffix(links.Subject, "."+id) {
				t.Errorf("read as %q: got %q and error %v, want %q", s.User(), links.Subject, err, id)
			}
			_, err = messages.GetDirect(roomlinktest.Context(t), client.JetStream(), messages.LinksStream,
				conversation(s.Account, "none").LinksSubject())
			if !errors.Is(err, messages.ErrNotFound) {
				t.Errorf("missing links as %q: got error %v, want %v", s.User(), err, messages.ErrNotFound)
			}
			wantConsumed(t, client, s, messages.LinksStream, id)
			publishDeadLetter(t, parts, s.Account, "failed-for-"+messages.DurableName(s.Account, s.Name))
			if s.DeadLetters {
				wantConsumed(t, client, s, messages.DeadLettersStream, "failed-for-"+messages.DurableName(s.Account, s.Name))
			}
			if len(client.refused) > 0 {
				t.Errorf("refused to %q: got %v, want nothing", s.User(), <-client.refused)
			}
		}
	})
}

// wantConsumed takes the messages of the durable consumer of a subscriber up to that of one
// conversation, and acknowledges them.
func wantConsumed(t *testing.T, client userClient, s broker.Subscriber, stream, id string) {
	t.Helper()
	ctx := roomlinktest.Context(t)
	consumer, err := client.JetStream().Consumer(ctx, stream, messages.DurableName(s.Account, s.Name))
	if err != nil {
		t.Fatalf("opening the consumer of %q on %q: %v", s.User(), stream, err)
	}
	for token := ""; token != id; {
		msg, err := consumer.Next(jetstream.FetchContext(ctx))
		if err != nil {
			t.Fatalf("taking a message as %q: %v", s.User(), err)
		}
		var account string
		if account, token, err = messages.SplitSubject(msg.Subject()); err != nil || account != s.Account {
			t.Errorf("subject for %q: got %q, want one of its account", s.User(), msg.Subject())
		}
		if err := msg.DoubleAck(ctx); err != nil {
			t.Errorf("acknowledging as %q: got error %v, want none", s.User(), err)
		}
	}
	if info, err := consumer.Info(ctx); err != nil || info.NumAckPending != 0 {
		t.Errorf("consumer of %q: got %+v and error %v, want everything acknowledged", s.User(), info, err)
	}
}

// apiSubjects returns the subjects of the server's own source that begin with $JS.API.
func apiSubjects(t *testing.T) []string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/nats-io/nats-server/v2").Output()
	if err != nil {
		t.Fatalf("finding the server's source: %v", err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "server", "jetstream_api.go"))
	if err != nil {
		t.Fatalf("reading the server's source: %v", err)
	}
	var subjects []string
	for _, found := range regexp.MustCompile(`= "(\$JS\.API\.[^"]*)"`).FindAllStringSubmatch(string(source), -1) {
		if strings.Contains(found[1], "%s") || !strings.ContainsAny(found[1], "*>") {
			subjects = append(subjects, strings.TrimSuffix(strings.ReplaceAll(found[1], "%s", "%"), "."))
		}
	}
	if len(subjects) < 30 {
		t.Fatalf("subjects of the API: got %d, want at least 30", len(subjects))
	}
	return subjects
}

// attacks returns every subject that a subscriber could try.
func attacks(t *testing.T) []string {
	t.Helper()
	streams := []string{messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream, "MINE"}
	consumers := []string{"mine", "rooms-acme", "rooms-acme-eu", "subscriber"}
	for _, s := range all {
		consumers = append(consumers, messages.DurableName(s.Account, s.Name))
	}
	var subjects []string
	for _, account := range []string{"acme", "acme-eu", "other", "*"} {
		for _, kind := range []string{"conversations", "links", "deadletters", "live", "failed", "history"} {
			subjects = append(subjects, "roomlink."+kind+"."+account+".a", "roomlink."+kind+"."+account+".*")
		}
	}
	ours := slices.Clone(subjects)
	for _, pattern := range apiSubjects(t) {
		subjects = append(subjects, filled(pattern, streams, consumers)...)
	}
	for _, stream := range streams {
		for _, subject := range ours {
			subjects = append(subjects, "$JS.API.CONSUMER.CREATE."+stream+".mine."+subject, "$JS.API.DIRECT.GET."+stream+"."+subject)
		}
		for _, consumer := range consumers {
			subjects = append(subjects, "$JS.API.CONSUMER.MSG.NEXT."+stream+"."+consumer,
				"$JS.ACK."+stream+"."+consumer+".1.1.1.1.0", "$JS.FC."+stream+"."+consumer+".a")
		}
	}
	for _, role := range append(broker.ExternalRoles(), "ROOMLINK") {
		subjects = append(subjects, "_INBOX_"+strings.ToUpper(string(role))+".a")
	}
	subjects = append(subjects, "$SYS.REQ.SERVER.PING", "$JS.EVENT.ADVISORY.a", "$KV.a.b", "a", "_R_.a")
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

// filled fills the places of a pattern: the first with each stream, the others with each name.
func filled(pattern string, streams, names []string) []string {
	before, after, found := strings.Cut(pattern, "%")
	if !found {
		return []string{pattern}
	}
	var subjects []string
	for _, stream := range streams {
		next := before + stream + after
		if !strings.Contains(next, "%") {
			subjects = append(subjects, next)
			continue
		}
		for _, name := range names {
			subjects = append(subjects, strings.ReplaceAll(next, "%", name))
		}
	}
	return subjects
}

// permitted returns the subjects that a client may publish to, or subscribe to. The broker reports
// refusals in order, so the one of "refused.last" is the last.
func permitted(t *testing.T, client userClient, subjects []string, try func(subject string) error) []string {
	t.Helper()
	refused := map[string]bool{}
	for batch := range slices.Chunk(subjects, 100) {
		for _, subject := range batch {
			if err := try(subject); err != nil {
				t.Fatalf("trying %q: %v", subject, err)
			}
		}
		if err := client.nc.Publish("refused.last", nil); err != nil {
			t.Fatalf("trying %d subjects: %v", len(batch), err)
		}
		for refused["refused.last"] = false; !refused["refused.last"]; {
			err := roomlinktest.Receive(t, client.refused, "the refusal of the last subject")
			if match := quoted.FindStringSubmatch(err.Error()); match != nil {
				refused[match[1]] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(subjects), func(subject string) bool { return refused[subject] })
}

var quoted = regexp.MustCompile(`"([^"]*)"`)

// A subscriber can use its own consumers and read its own account. Every other subject is
// refused: no subscriber makes a consumer, takes another's messages or deletes anything.
func TestSubscriberHasNoOtherPermission(t *testing.T) {
	brokers(t, func(t *testing.T, _ *store.Store, connect func(*testing.T, broker.Subscriber) userClient) {
		for _, s := range all {
			client := connect(t, s)
			durable := messages.DurableName(s.Account, s.Name)
			want := []string{
				"$JS.ACK.ROOMLINK_LINKS." + durable + ".1.1.1.1.0",
				"$JS.API.CONSUMER.INFO.ROOMLINK_LINKS." + durable,
				"$JS.API.CONSUMER.MSG.NEXT.ROOMLINK_LINKS." + durable,
				"$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links." + s.Account + ".*",
				"$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links." + s.Account + ".a",
			}
			hear := []string{messages.LiveSubjects + s.Account + ".*", messages.LiveSubjects + s.Account + ".a"}
			if s.DeadLetters {
				for _, subject := range want {
					subject = strings.ReplaceAll(subject, "ROOMLINK_LINKS", "ROOMLINK_DEAD_LETTERS")
					want = append(want, strings.ReplaceAll(subject, "roomlink.links", "roomlink.deadletters"))
				}
				hear = append(hear, messages.FailedSubjects+s.Account+".*", messages.FailedSubjects+s.Account+".a")
			}
			slices.Sort(want)
			slices.Sort(hear)
			tried := attacks(t)
			got := permitted(t, client, tried, func(subject string) error {
				return client.nc.PublishRequest(subject, client.nc.NewRespInbox(), nil)
			})
			if !slices.Equal(got, want) {
				t.Errorf("%q may publish to: got %q, want %q", s.User(), got, want)
			}
			overhear := append(slices.Clone(forbiddenSubscriptions), "_INBOX_OPERATOR.>", "_R_.>", "$JS.API.DIRECT.GET.>")
			got = permitted(t, client, append(tried, overhear...), func(subject string) error {
				_, err := client.nc.SubscribeSync(subject)
				return err
			})
			if !slices.Equal(got, hear) {
				t.Errorf("%q may subscribe to: got %q, want %q", s.User(), got, hear)
			}
		}
	})
}

// forbiddenSubscriptions are subjects that no user may subscribe to.
var forbiddenSubscriptions = []string{
	">", "roomlink.>", "roomlink.links.acme.*", "roomlink.conversations.>", "$JS.API.>", "$JS.EVENT.>", "$JS.ACK.>",
	"$SYS.>", "_INBOX_WORKER.>", "*.>",
}

func wantNoPublish(t *testing.T, c userClient, subjects ...string) {
	t.Helper()
	got := permitted(t, c, subjects, func(subject string) error {
		return c.nc.PublishRequest(subject, c.nc.NewRespInbox(), nil)
	})
	if len(got) > 0 {
		t.Errorf("may publish to: got %q, want none", got)
	}
}

func wantNoSubscription(t *testing.T, c userClient, subjects ...string) {
	t.Helper()
	got := permitted(t, c, subjects, func(subject string) error {
		_, err := c.nc.SubscribeSync(subject)
		return err
	})
	if len(got) > 0 {
		t.Errorf("may subscribe to: got %q, want none", got)
	}
}

// The permission covers a subject. The body of a direct get must not name another one.
func TestSubscriberCannotWidenRequestInBody(t *testing.T) {
	f := newFixture(t, crm)
	publishLinks(t, f.parts, "other", "a")
	publishLinks(t, f.parts, "acme", "a")
	client := f.user(t, crm.User())
	for _, body := range []string{
		`{"seq":1}`, `{"last_by_subj":"roomlink.links.other.a"}`, `{"multi_last":["roomlink.links.>"]}`,
		`{"next_by_subj":"roomlink.links.>","seq":1}`, `{"batch":10}`,
	} {
		answer, err := client.nc.RequestWithContext(roomlinktest.Context(t),
			"$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links.acme.a", []byte(body))
		if err != nil {
			t.Fatalf("direct get of %s: %v", body, err)
		}
		if got := answer.Header.Get("Status"); got != "408" || len(answer.Data) > 0 {
			t.Errorf("direct get of %s: got status %q and %s, want 408", body, got, answer.Data)
		}
	}
}

// NATS checks the subject of a request, but not its reply subject. The empty reply of a
// direct get without a result would be a valid request to purge or delete a stream.
func TestNobodyCanForgeReplySubject(t *testing.T) {
	brokers(t, func(t *testing.T, parts *store.Store, connect func(*testing.T, broker.Subscriber) userClient) {
		provisionSubscriber(t, parts.JetStream(), crm)
		publishLinks(t, parts, "acme", "a")
		client := connect(t, crm)
		for _, request := range []string{
			"$JS.API.DIRECT.GET.ROOMLINK_LINKS.roomlink.links.acme.none", "$JS.API.CONSUMER.INFO.ROOMLINK_LINKS.acme_crm",
			"$JS.API.CONSUMER.MSG.NEXT.ROOMLINK_LINKS.acme_crm", "$JS.ACK.ROOMLINK_LINKS.acme_crm.1.1.1.1.0",
		} {
			for _, call := range []string{"$JS.API.STREAM.PURGE.ROOMLINK_LINKS", "$JS.API.STREAM.DELETE.ROOMLINK_LINKS", "roomlink.links.acme.forged"} {
				if err := client.nc.PublishRequest(request, call, nil); err != nil {
					t.Fatalf("publishing: %v", err)
				}
			}
		}
		// The broker answers in order, so it has answered the forged requests before this one.
		for range 2 {
			_, err := messages.GetDirect(roomlinktest.Context(t), client.JetStream(), messages.LinksStream, "roomlink.links.acme.a")
			if err != nil {
				t.Errorf("links: got error %v, want none", err)
			}
		}
		if _, err := parts.Links(roomlinktest.Context(t), conversation("acme", "forged"), store.Leader); !errors.Is(err, messages.ErrNotFound) {
			t.Errorf("forged links: got error %v, want %v", err, messages.ErrNotFound)
		}
	})
}

// The accounts and subscribers change while the program runs. Nobody else notices.
func TestSubscribersChange(t *testing.T) {
	f := newFixture(t, crm)
	for _, s := range all {
		provisionSubscriber(t, f.parts.JetStream(), s)
	}
	lost := make(chan error, 8)
	first := f.user(t, crm.User(), nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { lost <- err }))
	live, err := first.nc.SubscribeSync(messages.LiveSubjects + "acme.*")
	if err != nil {
		t.Fatalf("following: %v", err)
	}
	for step, subscribers := range [][]broker.Subscriber{all, {crm, crmEU}, {crm}, all} {
		if err := f.SetSubscribers(subscribers); err != nil {
			t.Fatalf("changing the subscribers: %v", err)
		}
		id := fmt.Sprintf("step-%d", step)
		publishLinks(t, f.parts, "acme", id)
		for followed := ""; !strings.HasSuffix(followed, "."+id); {
			msg, err := live.NextMsgWithContext(roomlinktest.Context(t))
			if err != nil {
				t.Fatalf("following after the change: got error %v, want %q", err, id)
			}
			followed = msg.Subject
		}
		wantConsumed(t, first, crm, messages.LinksStream, id)
		for _, s := range all[1:] {
			if !slices.Contains(subscribers, s) {
				nc, err := nats.Connect(f.Address(), nats.UserInfo(s.User(), s.Password.Reveal()))
				if !errors.Is(err, nats.ErrAuthorization) {
					nc.Close()
					t.Errorf("connecting as the removed %q: got error %v, want %v", s.User(), err, nats.ErrAuthorization)
				}
				continue
			}
			client := connectUser(t, f.Address(), s.User(), s.Password) // it works at once
			publishLinks(t, f.parts, s.Account, id+"-"+s.Name)
			wantConsumed(t, client, s, messages.LinksStream, id+"-"+s.Name)
			client.nc.Close()
		}
	}
	if len(lost) > 0 || len(first.refused) > 0 {
		t.Errorf("the subscriber that stayed: lost its connection %d times and was refused %d times, want 0", len(lost), len(first.refused))
	}
}

func TestOperatorReplaysDeadLetters(t *testing.T) {
	f := newFixture(t)
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

// operator connects like our own commands.
func (f fixture) operator(t *testing.T) *store.Store {
	t.Helper()
	b, err := broker.Dial(roomlinktest.Context(t), broker.RemoteConfig{
		URL: f.Address(), Role: broker.RoleOperator,
		Login: broker.Login{User: "operator", Password: f.password(t, "operator")},
	})
	if err != nil {
		t.Fatalf("dialling as operator: %v", err)
	}
	t.Cleanup(b.Close)
	js, err := b.Connect(broker.RoleOperator, "operator")
	if err != nil {
		t.Fatalf("connecting as operator: %v", err)
	}
	return store.New(js)
}

func TestOperatorCannotOverhear(t *testing.T) {
	f := newFixture(t)
	operator := f.user(t, "operator", nats.CustomInboxPrefix("_INBOX_OPERATOR"))
	wantNoSubscription(t, operator, append([]string{"_INBOX.>", "_INBOX_PROVISIONER.>"}, forbiddenSubscriptions...)...)
	wantNoPublish(t, operator, "$SYS.REQ.SERVER.PING", "_INBOX_WORKER.a", "$JS.API.STREAM.DELETE.ROOMLINK_LINKS",
		"$JS.API.STREAM.PURGE.ROOMLINK_CONVERSATIONS", "$JS.API.STREAM.SNAPSHOT.ROOMLINK_LINKS")
}
