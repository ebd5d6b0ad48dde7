package crashtest_test

import (
	"syscall"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/programtest"
	"roomlink/messages"
)

// TestCluster runs on three NATS servers. The one that leads the queue is killed under
// load, and started again; then the next one that does is frozen, which cuts it off
// from everybody, and let go on, still believing that it leads.
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
	t.Logf("longest time without a 2xx: %v as the leader was cut off", l.sinceGap())
	leader.Signal(syscall.SIGCONT)
	l.awaitTaken(100)
	awaitWhole(t, js)
	t.Logf("longest time without a 2xx: %v as it came back", l.sinceGap())

	taken := l.stop()
	awaitEmpty(t, js)
	for _, p := range []*programtest.Program{receives, works} {
		if code := p.Stop(); code != 0 {
			t.Errorf("exit code after SIGTERM: got %d, want 0\n%s", code, p.Log())
		}
	}
	reconcile(t, js, auvious, taken, 3*concurrency)
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
