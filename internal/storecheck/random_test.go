package storecheck_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"roomlink/internal/roomlinktest"
	"roomlink/internal/store"
	"roomlink/internal/storecheck"
	"roomlink/messages"
)

// damages change the content of a block.
var damages = map[string]func(*rand.Rand, []byte) []byte{
	"random bytes": func(random *rand.Rand, content []byte) []byte {
		part := randomPart(random, content)
		for i := range part {
			part[i] = byte(random.IntN(256))
		}
		return content
	},
	"zeros": func(random *rand.Rand, content []byte) []byte {
		clear(randomPart(random, content))
		return content
	},
	"a shifted end": func(random *rand.Rand, content []byte) []byte {
		at := random.IntN(len(content))
		return slices.Delete(content, at, min(at+1+random.IntN(20), len(content)))
	},
}

// randomPart returns a part of up to 2,000 bytes.
func randomPart(random *rand.Rand, content []byte) []byte {
	at := random.IntN(len(content))
	return content[at:min(at+1+random.IntN(2000), len(content))]
}

// TestRandomDamage damages larger parts of the queue and of the links. Each event then waits, is a dead letter, has
// its links, or is missing, and its conversation takes a new event.
func TestRandomDamage(t *testing.T) {
	t.Parallel()
	template := newFixture(t)
	var ids []string
	template.run(func(s *store.Store, _ storecheck.Report) {
		for i := range 30 {
			id := fmt.Sprintf("call-%d", i)
			ids = append(ids, id)
			roomlinktest.Publish(t, s, roomlinktest.Started(id))
			if i%3 == 0 { // the oldest event is done
				roomlinktest.PublishLinks(t, s, roomlinktest.Links(ids[i/3], 1), 0)
				roomlinktest.SettleNext(t, s)
			}
		}
	})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for name, damage := range damages {
		for i := range 8 {
			t.Run(name+" "+strconv.Itoa(i), func(t *testing.T) {
				f := fixture{t, filepath.Join(t.TempDir(), "data")}
				if err := os.CopyFS(f.dir, os.DirFS(template.dir)); err != nil {
					t.Fatal(err)
				}
				stream := []string{messages.ConversationsStream, messages.LinksStream}[i%2]
				if i%4 < 2 { // as after a kill
					_ = os.Remove(filepath.Join(filepath.Dir(f.block(stream)), "index.db"))
				}
				f.change(stream, func(content []byte) []byte { return damage(random, content) })
				f.run(func(s *store.Store, report storecheck.Report) { wantAnswers(t, s, report, ids) })
			})
		}
	}
}

// wantAnswers checks that each conversation has an answer or is missing, and takes a new event.
func wantAnswers(t *testing.T, s *store.Store, report storecheck.Report, ids []string) {
	t.Helper()
	unnamed := slices.ContainsFunc(report.Missing, func(lost storecheck.Lost) bool { return lost.Token == "" })
	for _, id := range ids {
		state, err := s.State(roomlinktest.Context(t), roomlinktest.Conversation(id), time.Now())
		switch {
		case err != nil:
			t.Errorf("state of %q: got error %v, want none", id, err)
		case state.Status == store.StatusUnknown && !names(report, id) && !unnamed:
			t.Errorf("%q: got status unknown and %v missing, want it named", id, report.Missing)
		case state.Status == store.StatusUnknown, state.Status == store.StatusFailed:
			known, err := s.Snapshot(roomlinktest.Context(t), roomlinktest.Conversation(id))
			if err == nil {
				_, err = s.PublishAfter(roomlinktest.Context(t), roomlinktest.Started(id), known)
			}
			if err != nil {
				t.Errorf("a new event of %q: got error %v, want none", id, err)
			}
		}
	}
}
