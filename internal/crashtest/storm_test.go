package crashtest_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
)

// TestCrashStorm kills the whole program, broker and all, at random moments under
// load, and starts it again. Whenever it syncs to the disk, the disk outlives it.
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
		l.aim(p.Address("public"))
	}
	awaitMoment(t, l, called)
	taken := l.stop()
	drain(t, p)
	reconcile(t, stop(t, p, env), auvious, taken, kills*concurrency)
}

// TestCrashStormSplit kills the webhook, the worker and the NATS server between them,
// each a process of its own, at random moments under load, and starts them again.
func TestCrashStormSplit(t *testing.T) {
	t.Parallel()
	auvious, called := startAuvious(t)
	server := startServers(t, 1)[0]
	env := environment(t, auvious)
	use(env, server)
	webhook := programtest.Command{Args: []string{"webhook"}, Env: env}
	worker := programtest.Command{Args: []string{"worker"}, Env: env}
	receives, works := programtest.Start(t, webhook), programtest.Start(t, worker)
	l := startLoad(t, receives.Address("public"))
	restart := []func(){
		func() {
			receives.Kill()
			receives = programtest.Start(t, webhook)
			l.aim(receives.Address("public"))
		},
		func() {
			works.Kill()
			works = programtest.Start(t, worker)
		},
		func() {
			server.Kill()
			server.start(t)
		},
	}
	for kill := range kills {
		if kill%len(restart) == 0 { // each in turn, in an order of chance
			rand.Shuffle(len(restart), func(i, j int) { restart[i], restart[j] = restart[j], restart[i] })
		}
		awaitMoment(t, l, called)
		restart[kill%len(restart)]()
	}
	awaitMoment(t, l, called)
	taken := l.stop()
	js := observe(t, server)
	awaitEmpty(t, js)
	for _, p := range []*programtest.Program{receives, works} {
		if code := p.Stop(); code != 0 {
			t.Errorf("exit code after SIGTERM: got %d, want 0\n%s", code, p.Log())
		}
	}
	reconcile(t, js, auvious, taken, kills*concurrency)
}

// awaitMoment waits for a random moment: a few dozen answers from now, or a few dozen
// calls of auvious, of which the last is then under way.
func awaitMoment(tb testing.TB, l *load, called <-chan struct{}) {
	tb.Helper()
	count := 20 + rand.IntN(80)
	if rand.IntN(2) == 0 {
		l.awaitTaken(count)
		return
	}
	deadline := time.NewTimer(roomlinktest.Timeout)
	defer deadline.Stop()
	for range count {
		select {
		case <-called:
		case <-deadline.C:
			tb.Fatalf("no calls of auvious after %v", roomlinktest.Timeout)
		}
	}
}
