package crashtest_test

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"roomlink/internal/broker"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/messages"
)

// concurrency is the concurrency of a worker. A killed worker leaves at most as many orphan rooms.
const concurrency = 16

func TestMain(m *testing.M) { os.Exit(programtest.Main(m)) }

// startAuvious runs a simulator with a latency, so that kills interrupt calls. The channel receives
// a value for each call if somebody waits.
func startAuvious(tb testing.TB) (auvious programtest.Auvious, called <-chan struct{}) {
	tb.Helper()
	auvious = programtest.StartAuvious(tb, simulator.Config{
		Latency: simulator.Constant(20 * time.Millisecond), KeepRequests: -1,
	})
	calls := make(chan struct{})
	auvious.Script(func(simulator.Call) *simulator.Answer {
		select {
		case calls <- struct{}{}:
		default:
		}
		return nil
	})
	return auvious, calls
}

// environment returns the environment of roomlink's processes. Its timeouts suit slow machines.
func environment(tb testing.TB, auvious programtest.Auvious) map[string]string {
	tb.Helper()
	env := programtest.ServeEnv(tb, auvious.URL)
	env["ROOMLINK_CONCURRENCY"] = "16"
	env["ROOMLINK_FACADE_TIMEOUT"] = "1m"
	env["ROOMLINK_BROKER_LISTEN"] = broker.ListenOff
	env["ROOMLINK_LOG_LEVEL"] = "info"
	return env
}

// drain waits until the queue of a "serve" is empty.
func drain(tb testing.TB, p *programtest.Program) {
	tb.Helper()
	metrics := p.Address("operations") + "/metrics"
	roomlinktest.Await(tb, "an empty queue", func() bool {
		_, text := programtest.Visit(tb, metrics)
		return strings.Contains(text, `roomlink_stream_messages{stream="ROOMLINK_CONVERSATIONS"} 0`+"\n")
	})
}

// wantCleanStop stops programs with SIGTERM, and checks their exit codes.
func wantCleanStop(tb testing.TB, programs ...*programtest.Program) {
	tb.Helper()
	for _, p := range programs {
		if code := p.Stop(); code != 0 {
			tb.Errorf("exit code after SIGTERM: got %d, want 0\n%s", code, p.Log())
		}
	}
}

// stop stops a "serve" with SIGTERM and opens its store.
func stop(tb testing.TB, p *programtest.Program, env map[string]string) jetstream.JetStream {
	tb.Helper()
	wantCleanStop(tb, p)
	b, err := broker.Embed(roomlinktest.Context(tb), broker.EmbeddedConfig{
		Dir: env["ROOMLINK_DATA_DIR"], Sync: time.Minute, Logger: zerolog.New(io.Discard),
	})
	if err != nil {
		tb.Fatalf("opening the store: %v", err)
	}
	tb.Cleanup(b.Close)
	return roomlinktest.Connect(tb, b)
}

// tokens returns the last tokens of the subjects in a stream, which identify conversations.
func tokens(tb testing.TB, js jetstream.JetStream, name string) map[string]bool {
	tb.Helper()
	stream, err := js.Stream(roomlinktest.Context(tb), name)
	if err != nil {
		tb.Fatalf("opening stream %q: %v", name, err)
	}
	info, err := stream.Info(roomlinktest.Context(tb), jetstream.WithSubjectFilter(">"))
	if err != nil {
		tb.Fatalf("reading the subjects of %q: %v", name, err)
	}
	found := map[string]bool{}
	for subject := range info.State.Subjects {
		found[subject[strings.LastIndexByte(subject, '.')+1:]] = true
	}
	if name == messages.LinksStream && info.State.LastSeq != uint64(len(found)) {
		// A replaced set has used a sequence number too.
		tb.Errorf("sets of links: got %d for %d conversations, want one for each", info.State.LastSeq, len(found))
	}
	return found
}

// reconcile compares the accepted events with the streams and with the counts of the simulator.
// There may be at most maxOrphans orphan rooms.
func reconcile(tb testing.TB, js jetstream.JetStream, auvious programtest.Auvious, accepted []string, maxOrphans int) {
	tb.Helper()
	linked, dead := tokens(tb, js, messages.LinksStream), tokens(tb, js, messages.DeadLettersStream)
	lost := 0
	for _, id := range accepted {
		token := messages.Token(id)
		switch {
		case linked[token] && dead[token]:
			tb.Errorf("event %q: got both links and a dead letter, want one of them", id)
		case !linked[token] && !dead[token]:
			lost++
			tb.Errorf("event %q was answered 2xx: got neither links nor a dead letter", id)
		}
	}
	rooms, orphans := auvious.RoomsByInteraction(), 0
	for id, made := range rooms {
		orphans += made
		if linked[messages.Token(id)] {
			orphans--
		}
	}
	if stats := auvious.Stats(); stats.TicketFetches != 0 {
		tb.Errorf("fetches of a ticket: got %d, want none", stats.TicketFetches)
	}
	if orphans < 0 || orphans > maxOrphans {
		tb.Errorf("orphan rooms: got %d, want at most %d", orphans, maxOrphans)
	}
	tb.Logf("%d events answered 2xx: %d lost; %d conversations with one set of links each, %d dead letters; "+
		"%d rooms, including %d orphans", len(accepted), lost, len(linked), len(dead), len(rooms)+orphans, orphans)
}
