package crashtest_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"roomlink/internal/broker"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/messages"
)

// TestCluster uses three NATS servers. It kills the leader of the queue under load and restarts it.
// Then it freezes the new leader and lets it continue.
func TestCluster(t *testing.T) {
	t.Parallel()
	auvious, _ := startAuvious(t)
	servers := startServers(t, 3)
	env := environment(t, auvious)
	useServers(env, servers...)
	webhook := programtest.Start(t, part(env, broker.RoleWebhook))
	worker := programtest.Start(t, part(env, broker.RoleWorker))
	l := startLoad(t, webhook.Address("public"))
	l.awaitAccepted(100)
	js := dialOperator(t, servers...)
	awaitReplicas(t, js)
	t.Logf("longest time without a 2xx: %v before a failure", l.longestGap())

	leader := leaderOf(t, js, servers)
	leader.Kill()
	l.awaitAccepted(100)
	t.Logf("longest time without a 2xx: %v when the leader was killed", l.longestGap())
	leader.start(t)
	awaitReplicas(t, js)

	leader = leaderOf(t, js, servers)
	leader.Signal(syscall.SIGSTOP)
	l.awaitAccepted(100)
	t.Logf("longest time without a 2xx: %v when the leader was frozen", l.longestGap())
	leader.Signal(syscall.SIGCONT)
	l.awaitAccepted(100)
	awaitReplicas(t, js)
	t.Logf("longest time without a 2xx: %v when it continued", l.longestGap())

	accepted := l.stop()
	awaitEmpty(t, js)
	wantCleanStop(t, webhook, worker)
	reconcile(t, js, auvious, accepted, 3*concurrency)
}

// TestPartition partitions a server from the rest of its cluster under load. The server is the
// leader of the queue, and the webhook and the worker are connected to it. It still answers their
// pings but can store nothing, so they must reconnect to another server. Then the partition ends.
func TestPartition(t *testing.T) {
	t.Parallel()
	auvious, _ := startAuvious(t)
	servers := startServers(t, 3)
	js := dialOperator(t, servers...)
	provision(t, js, len(servers))
	isolated := leaderOf(t, js, servers)
	env := environment(t, auvious)
	useServers(env, servers...)
	env["ROOMLINK_NATS_URL"] = addressOf(isolated) // the server announces the others
	webhook := programtest.Start(t, part(env, broker.RoleWebhook))
	worker := programtest.Start(t, part(env, broker.RoleWorker))
	l := startLoad(t, webhook.Address("public"))
	l.awaitAccepted(100)
	awaitReplicas(t, js)
	t.Logf("longest time without a 2xx: %v before a failure", l.longestGap())

	for range cuts {
		isolated.isolate()
		l.awaitAccepted(100)
		t.Logf("longest time without a 2xx: %v when the webhook's server was isolated", l.longestGap())
		previous := isolated
		if isolated = serverOf(t, webhook, servers); isolated == previous {
			t.Errorf("the webhook's server: got the isolated one, want another")
		}
		previous.rejoin()
		l.awaitAccepted(100)
		awaitReplicas(t, js)
		t.Logf("longest time without a 2xx: %v when it rejoined", l.longestGap())
	}

	accepted := l.stop()
	t.Logf("other answers, by status: %s", l.statuses())
	awaitEmpty(t, js)
	wantCleanStop(t, webhook, worker)
	reconcile(t, js, auvious, accepted, cuts*concurrency)
}

// provision makes the streams. A new cluster does not answer at first.
func provision(tb testing.TB, js jetstream.JetStream, replicas int) {
	tb.Helper()
	roomlinktest.Await(tb, "the streams", func() bool {
		attempt, cancel := context.WithTimeout(tb.Context(), 3*time.Second)
		defer cancel()
		return store.Provision(attempt, js, store.StreamSettings{Replicas: replicas}) == nil
	})
}

// serverOf returns the server that a part reconnected to last.
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
		tb.Fatalf("the server of the last connection: got none of the cluster\n%s", p.Log())
	}
	return last
}

// leaderOf waits until the queue has a leader and returns the leader.
func leaderOf(tb testing.TB, js jetstream.JetStream, servers []*natsServer) *natsServer {
	tb.Helper()
	var leader *natsServer
	roomlinktest.Await(tb, "a leader", func() bool {
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

// awaitReplicas waits until every server has a current replica of every stream.
func awaitReplicas(tb testing.TB, js jetstream.JetStream) {
	tb.Helper()
	for _, name := range []string{messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream} {
		roomlinktest.Await(tb, "all replicas of "+name, func() bool {
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
