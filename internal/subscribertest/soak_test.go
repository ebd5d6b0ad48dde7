//go:build soak

package subscribertest_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// rounds is how often a test kills the client and the server.
const rounds = 4

const (
	soakDuration = 3 * time.Minute
	// soakRate is for each of the two accounts.
	soakRate = 100
	// soakTimeout bounds how long the slowest client takes to catch up.
	soakTimeout = 6 * time.Minute
)

// TestSoak lets a subscriber of each kind read under load, two of each account, and kills the
// server and the subscribers at random.
func TestSoak(t *testing.T) {
	s := newSite(t, "board")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var clients []*client
	for i, kind := range kinds {
		c := newClient(t, s, kind, []string{name, "board"}[i/2]+"@"+accountNames[i%2], asItIs)
		c.start()
		clients = append(clients, c)
	}
	load := startTraffic(t, s, soakRate)
	var settled []settlement
	kills := 0
	for end := time.Now().Add(soakDuration); time.Now().Before(end); {
		<-time.After(time.Duration(2+random.IntN(8)) * time.Second)
		if victim := random.IntN(len(clients) + 2); victim < len(clients) {
			clients[victim].kill()
			clients[victim].start()
		} else {
			settled = append(settled, killServer(s, clients...)...)
			kills++
		}
	}
	load.stop()
	ctx, cancel := context.WithTimeout(t.Context(), soakTimeout)
	defer cancel()
	for i, c := range clients {
		account := accountNames[i%2]
		load.wantEverything(ctx, t, account, c)
		t.Logf("%s: %d conversations, %d lines", kinds[i], len(load.want[account]), len(c.lines()))
	}
	for _, one := range settled {
		one.wantNothingAgain(t)
	}
	t.Logf("%d kills of the server", kills)
}
