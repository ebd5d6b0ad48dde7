package crashtest_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/programtest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// TestCluster runs on three NATS servers. The one that leads the queue is killed under
// load, and started again; then the next one that does is frozen, and let go on, still
// believing that it leads.
func TestCluster(t *testing.T) {
	t.Parallel()
	auvious, _ := startAuvious(t)
	servers := startServers(t, 3)
	env := environment(t, auvious)
	use(env, servers...)
	receives := programtest.Start(t, programtest.Command{Args: []string{"webhook"}, Env: env})
	works := programtest.Start(t, programtest.Command{Args: []string{"worker"}, Env: env})
	l := startLoad(t, receives.Address("public"))
	l.awaitTaken(100)
	js := observe(t, servers...)
	awaitWhole(t, js)
	t.Logf("longest time without a 2xx: %v while all is well", l.sinceGap())

	leader := leaderOf(t, js, servers)
	leader.Kill()
	l.awaitTaken(100)
	t.Logf("longest time without a 2xx: %v as the leader was killed", l.sinceGap())
	leader.start(t)
	awaitWhole(t, js)

	leader = leaderOf(t, js, servers)
	leader.Signal(syscall.SIGSTOP)
	l.awaitTaken(100)
	t.Logf("longest time without a 2xx: %v as the leader was frozen", l.sinceGap())
	leader.Signal(syscall.SIGCONT)
	l.awaitTaken(100)
	awaitWhole(t, js)
	t.Logf("longest time without a 2xx: %v as it went on", l.sinceGap())

	taken := l.stop()
	awaitEmpty(t, js)
	for _, p := range []*programtest.Program{receives, works} {
		if code := p.Stop(); code != 0 {
			t.Errorf("exit code after SIGTERM: got %d, want 0\n%s", code, p.Log())
		}
	}
	reconcile(t, js, auvious, taken, 3*concurrency)
}

// TestPartition cuts a server off from the others of its cluster, under load: the one
// that leads the queue, and that the webhook and the worker are connected to. It runs
// on and answers their pings, but nothing can be stored through it, so they leave it
// by themselves. Then the cluster is whole again.
func TestPartition(t *testing.T) {
	t.Parallel()
	auvious, _ := startAuvious(t)
	servers := startServers(t, 3)
	js := observe(t, servers...)
	provision(t, js, len(servers))
	cut := leaderOf(t, js, servers)
	env := environment(t, auvious)
	use(env, servers...)
	env["ROOMLINK_NATS_URL"] = addressOf(cut) // which tells them of the others
	receives := programtest.Start(t, programtest.Command{Args: []string{"webhook"}, Env: env})
	works := programtest.Start(t, programtest.Command{Args: []string{"worker"}, Env: env})
	l := startLoad(t, receives.Address("public"))
	l.awaitTaken(100)
	awaitWhole(t, js)
	t.Logf("longest time without a 2xx: %v while all is well", l.sinceGap())

	for range cuts {
		cut.cutOff()
		l.awaitTaken(100)
		t.Logf("longest time without a 2xx: %v as the webhook's server was cut off", l.sinceGap())
		left := cut
		if cut = serverOf(t, receives, servers); cut == left {
			t.Errorf("the webhook's server: got the one that was cut off, want another")
		}
		left.rejoin()
		l.awaitTaken(100)
		awaitWhole(t, js)
		t.Logf("longest time without a 2xx: %v as it came back", l.sinceGap())
	}

	taken := l.stop()
	t.Logf("answers but 2xx, by status: %s", l.statuses())
	awaitEmpty(t, js)
	for _, p := range []*programtest.Program{receives, works} {
		if code := p.Stop(); code != 0 {
			t.Errorf("exit code after SIGTERM: got %d, want 0\n%s", code, p.Log())
		}
	}
	reconcile(t, js, auvious, taken, cuts*concurrency)
}

// provision makes the streams. A cluster that has just begun answers nobody at first.
func provision(tb testing.TB, js jetstream.JetStream, replicas int) {
	tb.Helper()
	await(tb, "the streams", func() bool {
		attempt, cancel := context.WithTimeout(tb.Context(), 3*time.Second)
		defer cancel()
		return store.Provision(attempt, js, store.StreamSettings{Replicas: replicas}) == nil
	})
}

// serverOf is the server that a part was connected to again last.
func serverOf(tb testing.TB, p *programtest.Program, servers []*natsServer) *natsServer {
	tb.Helper()
	p.AwaitLog("broker connection restored")
	var last *natsServer
	for line := range strings.Lines(p.Log()) {
		for _, s := range servers {
			if strings.Contains(line, "broker connection restored") && strings.Contains(line, s.address) {
				last = s
			}
		}
	}
	if last == nil {
		tb.Fatalf("the server that is connected to: got none of the cluster\n%s", p.Log())
	}
	return last
}

// leaderOf waits until the queue has a leader, and returns it.
func leaderOf(tb testing.TB, js jetstream.JetStream, servers []*natsServer) *natsServer {
	tb.Helper()
	var leader *natsServer
	await(tb, "a leader", func() bool {
		info, err := streamInfo(tb, js, messages.ConversationsStream)
		if err != nil || info.Cluster == nil {
			return false
		}
		for _, s := range servers {
			if s.name == info.Cluster.Leader {
				leader = s
			}
		}
		return leader != nil
	})
	return leader
}

// awaitWhole waits until every server has every stream up to its end.
func awaitWhole(tb testing.TB, js jetstream.JetStream) {
	tb.Helper()
	for _, name := range []string{messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream} {
		await(tb, "all replicas of "+name, func() bool {
			info, err := streamInfo(tb, js, name)
			if err != nil {
				return false
			}
			cluster := info.Cluster
			if cluster == nil || cluster.Leader == "" || len(cluster.Replicas) != 2 {
				return false
			}
			for _, replica := range cluster.Replicas {
				if replica.Offline || !replica.Current {
					return false
				}
			}
			return true
		})
	}
}
