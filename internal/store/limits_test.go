package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// startServer runs a NATS server that is none of ours, and returns it with a connection to it.
func startServer(t *testing.T, config string) (*server.Server, *nats.Conn) {
	t.Helper()
	options := &server.Options{NoSigs: true, NoLog: true}
	if err := options.ProcessConfigString(config); err != nil {
		t.Fatalf("reading the configuration: %v", err)
	}
	options.Host, options.Port, options.StoreDir = "127.0.0.1", server.RANDOM_PORT, t.TempDir()
	srv, err := server.NewServer(options)
	if err != nil {
		t.Fatalf("making a server: %v", err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(roomlinktest.Timeout) {
		t.Fatal("the server is not ready")
	}
	nc, err := nats.Connect(srv.ClientURL(), nats.UserInfo("roomlink", "invented"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	t.Cleanup(nc.Close)
	return srv, nc
}

func TestCheckLimits(t *testing.T) {
	t.Parallel()
	const refused = `permissions: { publish: { deny: ["$JS.API.INFO"] } }`
	for name, test := range map[string]struct {
		limits, user string
		accounts     int
		// says is a part of the error; "" for none.
		says string
	}{
		"no limits":          {"enabled", "", 1, ""},
		"enough":             {"{ max_store: 2GB, max_streams: 4, max_consumers: 5 }", "", 5, ""},
		"no JetStream":       {"disabled", "", 1, "JetStream is not enabled"},
		"too few streams":    {"{ max_streams: 2 }", "", 1, "max_streams"},
		"too little storage": {"{ max_store: 100MB }", "", 1, "max_store"},
		"too few consumers":  {"{ max_consumers: 5 }", "", 6, "max_consumers"},
		"sizes are required": {"{ max_bytes: true }", "", 1, "max_bytes"},
		"small streams":      {"{ disk_max_stream_bytes: 10MB }", "", 1, "disk_max_stream_bytes"},
		"limits are secret":  {"{ max_streams: 2 }", refused, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, nc := startServer(t, `jetstream: enabled
				accounts { ROOMLINK { jetstream: `+test.limits+`
					users: [ { user: roomlink, password: invented, `+test.user+` } ] } }`)
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			err = store.CheckLimits(roomlinktest.Context(t), js, store.StreamSettings{}, test.accounts)
			if test.says == "" && err != nil || test.says != "" && (!errors.Is(err, store.ErrLimits) || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("got error %v, want one with %q", err, test.says)
			}
			if test.says != "" || test.user != "" {
				return
			}
			if err := store.Provision(roomlinktest.Context(t), js, store.StreamSettings{}); err != nil {
				t.Fatalf("provisioning: %v", err)
			}
			if err := store.CheckLimits(roomlinktest.Context(t), js, store.StreamSettings{}, test.accounts); err != nil {
				t.Errorf("with the streams: got error %v, want none", err)
			}
		})
	}
}

// The streams are in the domain of a hub, behind a leaf with a domain of its own.
func TestDomain(t *testing.T) {
	t.Parallel()
	const users = `
		accounts { ROOMLINK { jetstream: enabled, users: [ { user: roomlink, password: invented } ] } }`
	address := programtest.FreeAddress(t)
	hub, _ := startServer(t, fmt.Sprintf(`jetstream: { domain: hub }, leafnodes: { listen: %q }`, address)+users)
	leaf, nc := startServer(t, fmt.Sprintf(`jetstream: { domain: leaf }
		leafnodes: { remotes: [ { url: "nats-leaf://roomlink:invented@%s", account: ROOMLINK } ] }`, address)+users)
	wantStreams := func(where string, srv *server.Server, want int) {
		t.Helper()
		if info, err := srv.Jsz(&server.JSzOptions{}); err != nil || info.Streams != want {
			t.Errorf("streams of %s: got %d and error %v, want %d", where, info.Streams, err, want)
		}
	}
	js, err := jetstream.NewWithDomain(nc, "hub")
	if err != nil {
		t.Fatal(err)
	}
	err = store.CheckLimits(roomlinktest.Context(t), js, store.StreamSettings{}, 1)
	for ctx := roomlinktest.Context(t); errors.Is(err, jetstream.ErrJetStreamNotEnabled) && ctx.Err() == nil; {
		err = store.CheckLimits(ctx, js, store.StreamSettings{}, 1) // the leaf is not connected yet
	}
	if err != nil {
		t.Errorf("limits: got error %v, want none", err)
	}
	if err := store.Provision(roomlinktest.Context(t), js, store.StreamSettings{}); err != nil {
		t.Fatalf("provisioning: %v", err)
	}
	for name, s := range map[string]*store.Store{
		"cluster": store.New(js, store.WithGroupCommit()), "single": store.New(js, store.WithSingleServer()),
	} {
		linked, failed := roomlinktest.Conversation(name+"-linked"), roomlinktest.Conversation(name+"-failed")
		roomlinktest.Publish(t, s, roomlinktest.Started(linked.InteractionID))
		if got := roomlinktest.SettleNext(t, s).Subject(); got != linked.EventSubject() {
			t.Errorf("%s: pulled %q, want %q", name, got, linked.EventSubject())
		}
		roomlinktest.PublishLinks(t, s, roomlinktest.Links(linked.InteractionID, 1), 0)
		letter := publishDeadLetter(t, s, roomlinktest.DeadLetter(t, failed.InteractionID))
		for _, from := range []store.Consistency{store.Any, store.Leader} {
			if _, err := s.Links(roomlinktest.Context(t), linked, from); err != nil {
				t.Errorf("%s: reading links: got error %v, want none", name, err)
			}
		}
		var group []chan error
		for range 8 { // some of them are read together
			done := make(chan error, 1)
			go func() {
				_, err := s.DeadLetter(roomlinktest.Context(t), failed, store.Any)
				done <- err
			}()
			group = append(group, done)
		}
		for _, done := range group {
			if err := roomlinktest.Receive(t, done, "a dead letter"); err != nil {
				t.Errorf("%s: reading dead letters together: got error %v, want none", name, err)
			}
		}
		if _, err := s.Replay(roomlinktest.Context(t), letter); err != nil {
			t.Errorf("%s: replaying: got error %v, want none", name, err)
		}
		roomlinktest.SettleNext(t, s)
		links, err := messages.NewSubscriber(js).Links(roomlinktest.Context(t), linked)
		if err != nil || links.Data.Generation != 1 {
			t.Errorf("%s: links as a subscriber: got generation %d and error %v, want 1", name, links.Data.Generation, err)
		}
		s.Close()
	}
	wantStreams("the hub", hub, len(store.StreamSettings{}.Streams()))
	wantStreams("the leaf", leaf, 0)
}
