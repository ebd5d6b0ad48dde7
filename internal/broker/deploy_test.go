package broker_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// dialDeployed connects with a role, as its process does.
func dialDeployed(t *testing.T, url string, role broker.Role) *store.Store {
	t.Helper()
	b, err := broker.Dial(roomlinktest.Context(t), broker.RemoteConfig{
		URL: url, Role: role, Login: roomlinktest.DeployedLogin(role), Logger: zerolog.New(io.Discard),
	})
	if err != nil {
		t.Fatalf("dialling: %v", err)
	}
	t.Cleanup(b.Close)
	js, err := b.Connect(role, "test")
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	var options []store.Option
	if role == broker.RoleWebhook || role == broker.RoleViewer {
		options = append(options, store.WithoutDirectGet())
	}
	return store.New(js, options...)
}

// TestDeployedRoles checks what each role may do with the printed configuration, and what it may
// not.
func TestDeployedRoles(t *testing.T) {
	url := roomlinktest.StartDeployedServer(t).ClientURL()
	ctx := roomlinktest.Context(t)
	client := map[broker.Role]*store.Store{}
	for _, role := range broker.ExternalRoles() {
		client[role] = dialDeployed(t, url, role)
	}
	for _, role := range []broker.Role{broker.RoleWebhook, broker.RoleWorker, broker.RoleViewer, broker.RoleServe} {
		if err := store.Provision(ctx, client[role].JetStream(), store.StreamSettings{}); !errors.Is(err, store.ErrNotPermitted) {
			t.Errorf("provisioning as %s: got error %v, want %v", role, err, store.ErrNotPermitted)
		}
	}
	provisioner := client[broker.RoleProvisioner].JetStream()
	if err := store.Provision(ctx, provisioner, store.StreamSettings{}); err != nil {
		t.Fatalf("provisioning: %v", err)
	}
	// A part whose settings differ may not change the streams.
	shorter := store.StreamSettings{LinksMaxAge: time.Hour}
	if err := store.Provision(ctx, client[broker.RoleViewer].JetStream(), shorter); !errors.Is(err, store.ErrNotPermitted) {
		t.Errorf("shortening the age of links as viewer: got error %v, want %v", err, store.ErrNotPermitted)
	}
	if err := store.Provision(ctx, provisioner, shorter); err != nil {
		t.Errorf("shortening the age of links as provisioner: got error %v, want none", err)
	}

	for _, role := range []broker.Role{broker.RoleWebhook, broker.RoleViewer, broker.RoleServe} {
		event := roomlinktest.Started(string(role))
		if outcome, err := client[role].Publish(ctx, event); err != nil || outcome != store.Accepted {
			t.Errorf("publishing an event as %s: got %v and error %v, want %v", role, outcome, err, store.Accepted)
		}
		state, err := client[role].State(ctx, event.Data.Conversation, time.Now())
		if err != nil || state.Status != store.StatusPending {
			t.Errorf("state as %s: got %q and error %v, want %q", role, state.Status, err, store.StatusPending)
		}
	}
	for _, role := range []broker.Role{broker.RoleWorker, broker.RoleServe} {
		consumer, err := client[role].Consumer(ctx, provisioner, roomlinktest.Account)
		if err != nil {
			t.Fatalf("opening the consumer as %s: %v", role, err)
		}
		msg, err := consumer.Next()
		if err != nil {
			t.Fatalf("taking an event as %s: %v", role, err)
		}
		publishLinks(t, client[role], "acme", "links-of-"+string(role))
		publishDeadLetter(t, client[role], "acme", "failed-of-"+string(role))
		letter, err := client[role].DeadLetter(ctx, conversation("acme", "failed-of-"+string(role)), store.Any)
		if err != nil {
			t.Fatalf("reading a dead letter as %s: %v", role, err)
		}
		if err := errors.Join(client[role].Discard(ctx, letter), msg.DoubleAck(ctx)); err != nil {
			t.Errorf("settling as %s: got error %v, want none", role, err)
		}
	}

	operator := client[broker.RoleOperator]
	if _, err := operator.Revoke(ctx, conversation("acme", "links-of-worker"), time.Now()); err != nil {
		t.Errorf("revoking as operator: got error %v, want none", err)
	}
	publishDeadLetter(t, client[broker.RoleWorker], "acme", "again")
	letter, err := operator.DeadLetter(ctx, conversation("acme", "again"), store.Leader)
	if err != nil {
		t.Fatalf("reading a dead letter as operator: %v", err)
	}
	if _, err := operator.Replay(ctx, letter); err != nil {
		t.Errorf("replaying as operator: got error %v, want none", err)
	}
}

// The public parts can neither pull events nor shorten, purge or delete a stream, nor overhear
// the replies to others.
func TestPublicPartsAreConfined(t *testing.T) {
	url := roomlinktest.StartDeployedServer(t).ClientURL()
	for _, role := range []broker.Role{broker.RoleWebhook, broker.RoleViewer} {
		login := roomlinktest.DeployedLogin(role)
		c := connectUser(t, url, login.User, login.Password)
		tried := slices.DeleteFunc(attacks(t), func(subject string) bool {
			return strings.HasPrefix(subject, "$JS.API.STREAM.INFO.ROOMLINK_") || subject == "$JS.API.INFO" ||
				strings.HasPrefix(subject, "$JS.API.STREAM.MSG.GET.ROOMLINK_") || strings.HasPrefix(subject, messages.EventSubjects) ||
				strings.HasPrefix(subject, "$JS.API.CONSUMER.INFO.ROOMLINK_CONVERSATIONS.")
		})
		wantNoPublish(t, c, tried...)
		wantNoSubscription(t, c, append([]string{"_INBOX.>", "_INBOX_OPERATOR.>"}, forbiddenSubscriptions...)...)
	}
}

// A server with the users of an older version lets the parts log in, and refuses their inboxes.
func TestOldUsersAreRefused(t *testing.T) {
	options := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}
	err := options.ProcessConfigString(`accounts { ROOMLINK { users: [ { user: roomlink, password: invented, permissions: {
		publish: [ "roomlink.>", "$JS.API.>", "$JS.ACK.>" ], subscribe: [ "_INBOX_ROOMLINK.>" ] } } ] } }`)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	_, err = broker.Dial(roomlinktest.Context(t), broker.RemoteConfig{
		URL: srv.ClientURL(), Role: broker.RoleWorker, Login: broker.Login{User: "roomlink", Password: "invented"},
		Logger: zerolog.New(io.Discard),
	})
	if !errors.Is(err, broker.ErrUnsuitable) || !strings.Contains(err.Error(), "roomlink nats config") {
		t.Errorf("dialling with an old user: got error %v, want %v that names the remedy", err, broker.ErrUnsuitable)
	}
}
