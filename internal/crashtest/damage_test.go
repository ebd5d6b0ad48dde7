package crashtest_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/internal/storecheck"
	"roomlink/messages"
)

// damaged is a data directory that tests damage, and what a webhook accepted into it.
type damaged struct {
	auvious programtest.Auvious
	env     map[string]string
	dir     string
	ids     []string
}

// fill fills a data directory with links, dead letters and waiting events, and ends the program
// by stop.
func fill(t *testing.T, stop func(*programtest.Program)) damaged {
	t.Helper()
	auvious := programtest.StartAuvious(t, simulator.Config{KeepRequests: -1})
	auvious.Script(func(call simulator.Call) *simulator.Answer {
		if strings.HasPrefix(call.InteractionID, "refused-") {
			return &simulator.Answer{Status: http.StatusUnprocessableEntity, Body: `{"error":"no"}`}
		}
		return nil
	})
	env := environment(t, auvious)
	env["ROOMLINK_CONCURRENCY"] = "1"
	d := damaged{auvious: auvious, env: env, dir: env["ROOMLINK_DATA_DIR"]}
	p := programtest.Start(t, programtest.Command{Args: []string{"serve"}, Env: env})
	base := p.Address("public")
	post := func(kind string, count int) {
		for i := range count {
			id := fmt.Sprintf("%s-%d", kind, i)
			if i%4 == 3 {
				id += " with a space" // its subject has a hash
			}
			if got := programtest.Post(t, base, id); got.Status != http.StatusAccepted {
				t.Fatalf("posting %q: got %d %v, want 202", id, got.Status, got.Fields)
			}
			d.ids = append(d.ids, id)
		}
	}
	post("done", 15)
	post("refused", 5)
	drain(t, p)
	// Without access to auvious, the breaker opens with the first event, and the others wait.
	auvious.SetCredentials("other", "other")
	post("waiting", 20)
	stop(p)
	auvious.SetCredentials(programtest.AuviousClient, programtest.AuviousSecret)
	return d
}

// copy returns the same with a copy of the data directory.
func (d damaged) copy(t *testing.T) damaged {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(d.dir)); err != nil {
		t.Fatalf("copying the data directory: %v", err)
	}
	env := maps.Clone(d.env)
	env["ROOMLINK_DATA_DIR"] = to
	d.env, d.dir = env, to
	return d
}

// blocks returns the files of the streams' blocks that are not empty.
func (d damaged) blocks(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, stream := range []string{messages.ConversationsStream, messages.LinksStream, messages.DeadLettersStream} {
		paths, err := filepath.Glob(filepath.Join(d.dir, "jetstream", "*", "streams", stream, "msgs", "*.blk"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("blocks of %q: got %v and error %v, want some", stream, paths, err)
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil && info.Size() > 0 {
				found = append(found, path)
			}
		}
	}
	return found
}

// flip changes a byte of a block.
func flip(t *testing.T, path string, random *rand.Rand) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("reading a block: %v", err)
	}
	at, by := random.IntN(len(content)), byte(1+random.IntN(255))
	content[at] ^= by
	t.Logf("changing byte %d of %s by %#x", at, path, by)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatalf("writing a block: %v", err)
	}
}

// lost is what "roomlink store check" prints.
type lost struct {
	Missing []storecheck.Lost
}

func (d damaged) check(t *testing.T) (found lost) {
	t.Helper()
	_, out, _ := programtest.Run(t, programtest.Command{
		Args: []string{"store", "check", "--json"}, Env: map[string]string{"ROOMLINK_DATA_DIR": d.dir},
	})
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("output of store check: got %q, want JSON", out)
	}
	return found
}

// has reports whether the conversation is named, or whether something is missing that nobody can
// name any more.
func (l lost) has(id string) bool {
	return slices.ContainsFunc(l.Missing, func(one storecheck.Lost) bool {
		return one.Token == messages.Token(id) || one.Token == ""
	})
}

// TestDamage changes one random byte of a random block, after clean stops and kills. Each accepted
// event then has its links or a dead letter, or is named as missing. A repeat ends in links.
func TestDamage(t *testing.T) {
	t.Parallel()
	seed := cmp.Or(damageSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	templates := []damaged{
		fill(t, func(p *programtest.Program) { p.Stop() }),
		fill(t, (*programtest.Program).Kill),
	}
	for i := range flips {
		d := templates[i%len(templates)]
		t.Run(strconv.Itoa(i), func(t *testing.T) { testDamage(t, d.copy(t), random) })
	}
}

func testDamage(t *testing.T, d damaged, random *rand.Rand) {
	t.Helper()
	blocks := d.blocks(t)
	flip(t, blocks[random.IntN(len(blocks))], random)
	p := programtest.Start(t, programtest.Command{Args: []string{"serve"}, Env: d.env})
	base := p.Address("public")
	p.Line(map[string]string{"message": "started"})
	found := d.check(t)
	missing := 0
	for _, id := range d.ids {
		state := d.settled(t, base, id)
		switch {
		case state["status"] == "ready", state["status"] == "failed" && state["reason"] != messages.ReasonUnreadable:
			continue
		case state["status"] == "unknown" && !found.has(id):
			t.Errorf("%q: got status unknown, and %v missing, want it named", id, found.Missing)
		}
		missing++
		if got := programtest.Post(t, base, id); got.Status != http.StatusAccepted {
			t.Errorf("%q again: got %d %v, want 202", id, got.Status, got.Fields)
		}
		want := "ready"
		if strings.HasPrefix(id, "refused") {
			want = "failed"
		}
		if got := d.settled(t, base, id); got["status"] != want {
			t.Errorf("%q again: got status %q, want %q", id, got["status"], want)
		}
	}
	if missing > 1 || len(found.Missing) > 1 {
		t.Errorf("damaged conversations: got %d, and %v missing, want at most 1", missing, found.Missing)
	}
	wantCleanStop(t, p)
}

// settled waits for the end of a conversation's pending event and returns its state.
func (d damaged) settled(t *testing.T, base, id string) map[string]string {
	t.Helper()
	var last programtest.Reply
	roomlinktest.Await(t, "the state of "+id, func() bool {
		last = programtest.Ask(t, http.MethodGet, base+"/links/"+strings.ReplaceAll(id, " ", "%20"), "")
		return last.Status == http.StatusOK && last.Fields["status"] != "pending"
	})
	return last.Fields
}

// wantNothingMissing checks that a start found nothing missing.
func wantNothingMissing(t *testing.T, p *programtest.Program) {
	t.Helper()
	p.Line(map[string]string{"message": "started"})
	_, metrics := programtest.Visit(t, p.Address("operations")+"/metrics")
	count := 0
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "roomlink_store_missing_events{") {
			count++
			if !strings.HasSuffix(line, " 0\n") {
				t.Errorf("missing events: got %q, want 0", line)
			}
		}
	}
	if count == 0 {
		t.Error("missing events: got no metric, want one for each stream")
	}
}
