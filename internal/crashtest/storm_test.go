package crashtest_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"roomlink/internal/broker"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
)

// TestCrashStorm kills and restarts the whole program, including its broker, at random moments under
// load. The interval of its syncs does not matter, because the disk keeps its power.
func TestCrashStorm(t *testing.T) {
	t.Parallel()
	for _, sync := range []string{"always", "2m"} {
		t.Run("sync "+sync, func(t *testing.T) {
			t.Parallel()
			testCrashStorm(t, sync)
		})
	}
}

func testCrashStorm(t *testing.T, sync string) {
	t.Helper()
	auvious, called := startAuvious(t)
	env := environment(t, auvious)
	env["ROOMLINK_SYNC"] = sync
	serve := programtest.Command{Args: []string{"serve"}, Env: env}
	p := programtest.Start(t, serve)
	l := startLoad(t, p.Address("public"))
	for range kills {
		awaitMoment(t, l, called)
		p.Kill()
		p = programtest.Start(t, serve)
		l.setTarget(p.Address("public"))
		wantNothingMissing(t, p)
	}
	awaitMoment(t, l, called)
	accepted := l.stop()
	drain(t, p)
	reconcile(t, stop(t, p, env), auvious, accepted, kills*concurrency)
}

// TestCrashStormSplit kills and restarts the webhook, the worker and the NATS server at random
// moments under load. Each is a separate process.
func TestCrashStormSplit(t *testing.T) {
	t.Parallel()
	auvious, called := startAuvious(t)
	server := startServers(t, 1)[0]
	env := environment(t, auvious)
	useServers(env, server)
	webhookCommand := part(env, broker.RoleWebhook)
	workerCommand := part(env, broker.RoleWorker)
	webhook, worker := programtest.Start(t, webhookCommand), programtest.Start(t, workerCommand)
	l := startLoad(t, webhook.Address("public"))
	restart := []func(){
		func() {
			webhook.Kill()
			webhook = programtest.Start(t, webhookCommand)
			l.setTarget(webhook.Address("public"))
		},
		func() {
			worker.Kill()
			worker = programtest.Start(t, workerCommand)
		},
		func() {
			server.Kill()
			server.start(t)
		},
	}
	for kill := range kills {
		if kill%len(restart) == 0 { // each in turn, in random order
			rand.Shuffle(len(restart), func(i, j int) { restart[i], restart[j] = restart[j], restart[i] })
		}
		awaitMoment(t, l, called)
		restart[kill%len(restart)]()
	}
	awaitMoment(t, l, called)
	accepted := l.stop()
	js := dialOperator(t, server)
	awaitEmpty(t, js)
	wantCleanStop(t, webhook, worker)
	reconcile(t, js, auvious, accepted, kills*concurrency)
}

// awaitMoment waits for a random number of answers, or until a random call to auvious is running.
func awaitMoment(tb testing.TB, l *load, called <-chan struct{}) {
	tb.Helper()
	count := 20 + rand.IntN(80)
	if rand.IntN(2) == 0 {
		l.awaitAccepted(count)
		return
	}
	deadline := time.NewTimer(roomlinktest.Timeout)
	defer deadline.Stop()
	for range count {
		select {
		case <-called:
		case <-deadline.C:
			tb.Fatalf("waiting for calls to auvious: got too few after %v", roomlinktest.Timeout)
		}
	}
}
