package app_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/app"
	"roomlink/internal/broker"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/internal/talkdesk"
	"roomlink/messages"
)

// running is a program that runs in this process, and a connection to its broker.
type running struct {
	*app.App

	js jetstream.JetStream
}

// run starts the whole program until the test ends.
func run(t *testing.T, arguments ...string) running {
	t.Helper()
	return runWith(t, programtest.StartAuvious(t, simulator.Config{}), arguments...)
}

// runWith starts the whole program with an auvious until the test ends.
func runWith(t *testing.T, auvious programtest.Auvious, arguments ...string) running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	program, err := serve(ctx, t, auvious.URL, arguments...)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	t.Cleanup(func() {
		stop()
		if err := program.Wait(); err != nil {
			t.Errorf("stopping: got error %v, want none", err)
		}
	})
	return running{program, roomlinktest.Connect(t, program.Broker())}
}

// await polls until a condition holds.
func await(t *testing.T, what string, holds func(context.Context) bool) {
	t.Helper()
	ctx, ticker := roomlinktest.Context(t), time.NewTicker(50*time.Millisecond)
	defer ticker.Stop()
	for !holds(ctx) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waiting for %s: got none", what)
		}
	}
}

// wantRoom sends the event of a conversation until it is accepted, and waits for its links.
func (r running) wantRoom(t *testing.T, id string) {
	t.Helper()
	r.send(t, id)
	r.awaitLinks(t, id)
}

// awaitLinks waits for the links of a conversation.
func (r running) awaitLinks(t *testing.T, id string) {
	t.Helper()
	client := talkdesk.Client{URL: r.URL(), Key: programtest.APIKey}
	await(t, "the links of "+id, func(ctx context.Context) bool {
		_, answer, err := client.Get(ctx, "/links/"+id)
		return err == nil && strings.Contains(string(answer), `"status":"ready"`)
	})
}

// send sends the event of a conversation until it is accepted.
func (r running) send(t *testing.T, id string) {
	t.Helper()
	client := talkdesk.Client{URL: r.URL(), Key: programtest.APIKey}
	body, err := talkdesk.Automation.Sample(id)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the acceptance of "+id, func(ctx context.Context) bool {
		status, _, err := client.PostEvent(ctx, body)
		return err == nil && (status == http.StatusAccepted || status == http.StatusOK)
	})
}

// operations returns an answer of the operations HTTP.
func (r running) operations(ctx context.Context, path string) (status int, text string) {
	status, answer, _ := talkdesk.Client{URL: "http://" + r.OperationsAddress()}.Get(ctx, path) // a status of 0 is none
	return status, string(answer)
}

// awaitOperations waits until /readyz and the metrics are as wanted.
func (r running) awaitOperations(t *testing.T, ready int, texts ...string) {
	t.Helper()
	await(t, strings.Join(texts, " and "), func(ctx context.Context) bool {
		status, text := r.operations(ctx, "/readyz")
		_, metrics := r.operations(ctx, "/metrics")
		for _, want := range texts {
			if !strings.Contains(text+metrics, want) {
				return false
			}
		}
		return status == ready
	})
}

var allStreams = []string{messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream}

// Somebody deletes each stream while the program runs. The next event gets its links, although the
// new streams count from 1 again.
func TestDeletedStreamIsMadeAgain(t *testing.T) {
	t.Parallel()
	r := run(t)
	r.wantRoom(t, "before")
	for _, name := range allStreams {
		if err := r.js.DeleteStream(roomlinktest.Context(t), name); err != nil {
			t.Fatalf("deleting stream %q: %v", name, err)
		}
		r.wantRoom(t, "after-"+name)
		r.awaitOperations(t, http.StatusOK, `roomlink_broker_misconfigured{object="`+name+`"} 0`)
	}
}

// startNATS runs a NATS server that is none of ours, and returns its URL.
func startNATS(t *testing.T) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(roomlinktest.Timeout) {
		t.Fatal("the server is not ready")
	}
	return srv.ClientURL()
}

// A call for an event is under way when somebody deletes the queue. The next event has the same
// sequence in the new queue. The first job must not acknowledge it, nor may it be taken for held.
func TestOldJobLeavesNewEventAlone(t *testing.T) {
	t.Parallel()
	auvious := programtest.StartAuvious(t, simulator.Config{})
	oldCalled, newCalled, oldMayEnd, newMayFail := make(chan bool), make(chan bool), make(chan bool), make(chan bool)
	wait := func(signal <-chan bool) {
		select {
		case <-signal:
		case <-t.Context().Done():
		}
	}
	auvious.Script(func(call simulator.Call) *simulator.Answer {
		switch {
		case call.InteractionID == "old":
			close(oldCalled)
			wait(oldMayEnd)
		case call.Number == 1:
			close(newCalled)
			wait(newMayFail)
			return &simulator.Answer{Status: http.StatusServiceUnavailable}
		}
		return nil
	})
	r := runWith(t, auvious, "--facade-timeout=2m")
	r.send(t, "old")
	roomlinktest.Receive(t, oldCalled, "the call of the old event")
	if err := r.js.DeleteStream(roomlinktest.Context(t), messages.ConversationsStream); err != nil {
		t.Fatalf("deleting the queue: %v", err)
	}
	r.send(t, "new")
	roomlinktest.Receive(t, newCalled, "the call of the new event")
	close(oldMayEnd)
	r.awaitLinks(t, "old")
	close(newMayFail)
	r.awaitLinks(t, "new")
}

func TestDeletedStreamOfAnExternalBroker(t *testing.T) {
	t.Parallel()
	r := run(t, "--nats-url="+startNATS(t), "--replicas=1")
	r.wantRoom(t, "before")
	for _, name := range allStreams {
		if err := r.js.DeleteStream(roomlinktest.Context(t), name); err != nil {
			t.Fatalf("deleting stream %q: %v", name, err)
		}
	}
	r.awaitOperations(t, http.StatusServiceUnavailable, "is missing")
	r.wantRoom(t, "after")
	r.awaitOperations(t, http.StatusOK)
}

// Somebody changes streams and consumers. Only what stops the program's work turns it unready.
func TestMisconfiguredBroker(t *testing.T) {
	t.Parallel()
	r, ctx := run(t), roomlinktest.Context(t)
	value := func(object, number string) string {
		return `roomlink_broker_misconfigured{object="` + object + `"} ` + number
	}
	for _, object := range append([]string{"rooms-default"}, allStreams...) {
		if _, metrics := r.operations(ctx, "/metrics"); !strings.Contains(metrics, value(object, "0")) {
			t.Errorf("at the start: got no %s", value(object, "0"))
		}
	}

	if _, err := r.js.PauseConsumer(ctx, messages.ConversationsStream, "rooms-default", time.Now().Add(time.Hour)); err != nil {
		t.Fatalf("pausing: %v", err)
	}
	r.awaitOperations(t, http.StatusOK, value("rooms-default", "1"), value(messages.ConversationsStream, "0"))
	if _, err := r.js.ResumeConsumer(ctx, messages.ConversationsStream, "rooms-default"); err != nil {
		t.Fatalf("resuming: %v", err)
	}
	r.awaitOperations(t, http.StatusOK, value("rooms-default", "0"))

	r.edit(t, messages.LinksStream, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 })
	r.awaitOperations(t, http.StatusOK, value(messages.LinksStream, "1"))
	r.edit(t, messages.DeadLettersStream, func(c *jetstream.StreamConfig) { c.Sealed = true })
	r.awaitOperations(t, http.StatusServiceUnavailable, value(messages.DeadLettersStream, "1"), "sealed")
}

// edit changes the configuration of a stream.
func (r running) edit(t *testing.T, name string, change func(*jetstream.StreamConfig)) {
	t.Helper()
	stream, err := r.js.Stream(roomlinktest.Context(t), name)
	if err != nil {
		t.Fatalf("opening stream %q: %v", name, err)
	}
	config := stream.CachedInfo().Config
	change(&config)
	if _, err := r.js.UpdateStream(roomlinktest.Context(t), config); err != nil {
		t.Fatalf("changing stream %q: %v", name, err)
	}
}

// The program ends with an error when a connection is closed for good.
func TestClosedConnectionEndsTheProgram(t *testing.T) {
	t.Parallel()
	program, err := serve(roomlinktest.Context(t), t, programtest.StartAuvious(t, simulator.Config{}).URL)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	roomlinktest.Connect(t, program.Broker()).Conn().Close()
	if err := program.Wait(); !errors.Is(err, broker.ErrClosed) {
		t.Errorf("stopping: got error %v, want %v", err, broker.ErrClosed)
	}
}

// Each part is unready only without the streams that it needs. Without a worker, nobody makes them
// again.
func TestPartsNeedTheirStreams(t *testing.T) {
	t.Parallel()
	url := startNATS(t)
	ctx, stop := context.WithCancel(t.Context())
	arguments := []string{"--nats-url=" + url, "--replicas=1", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0"}
	env := environment(&roomlinktest.Logbook{})
	var hook app.WebhookSettings
	var pages app.ViewerSettings
	if err := errors.Join(app.ParseSettings(&hook, arguments...), app.ParseSettings(&pages, arguments...)); err != nil {
		t.Fatalf("parsing settings: %v", err)
	}
	webhook, webhookErr := app.Webhook(ctx, env, hook)
	viewer, viewerErr := app.Viewer(ctx, env, pages)
	if err := errors.Join(webhookErr, viewerErr); err != nil {
		t.Fatalf("starting: %v", err)
	}
	t.Cleanup(func() {
		stop()
		if err := errors.Join(webhook.Wait(), viewer.Wait()); err != nil {
			t.Errorf("stopping: got error %v, want none", err)
		}
	})
	js := roomlinktest.Connect(t, webhook.Broker())
	for _, deleted := range []struct {
		stream          string
		webhook, viewer int
	}{
		{messages.LinksStream, http.StatusOK, http.StatusServiceUnavailable},
		{messages.ConversationsStream, http.StatusServiceUnavailable, http.StatusServiceUnavailable},
	} {
		if err := js.DeleteStream(roomlinktest.Context(t), deleted.stream); err != nil {
			t.Fatalf("deleting: %v", err)
		}
		running{webhook, js}.awaitOperations(t, deleted.webhook)
		running{viewer, js}.awaitOperations(t, deleted.viewer, messages.LinksStream)
	}
}
