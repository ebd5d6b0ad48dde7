package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"roomlink/internal/app"
	"roomlink/internal/load"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
)

// loadTestOf holds a load test with some flags, and wants it to add up.
func loadTestOf(t *testing.T, args ...string) load.Result {
	t.Helper()
	roomlinktest.SkipIfShort(t, "it runs a load test")
	code, out, log := command(t, nil, append([]string{"load", "--json", "--connections=16", "--sync=2m"}, args...)...)
	if code != exitDone {
		t.Fatalf("exit code: got %d, want %d\n%s\n%s", code, exitDone, log, out)
	}
	var result load.Result
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("the output: got error %v, want JSON\n%s", err, out)
	}
	if strings.Contains(out, "/t/") {
		t.Error("got a ticket in the result, want none")
	}
	return result
}

// wantConversations holds a test to how many conversations it sent, and to what
// became of all of them. A machine that is busy with other tests may have some
// refused, which is told as such.
func wantConversations(t *testing.T, got load.Reconciliation, sent int) {
	t.Helper()
	want := load.Reconciliation{
		Sent: sent, Accepted: sent - got.Refused, Refused: got.Refused,
		Linked: sent - got.Refused - got.DeadLettered, DeadLettered: got.DeadLettered,
		OrphansAllowed: got.OrphansAllowed,
	}
	got.Faults = nil
	if got.Sent != want.Sent || got.Accepted != want.Accepted || got.Linked != want.Linked ||
		got.Missing+got.Doubles+got.Orphans+got.Waiting != 0 {
		t.Errorf("reconciliation: got %+v, want %+v", got, want)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	r := loadTestOf(t, "--requests=300", "--accounts=3", "--preload-links=40")
	wantConversations(t, r.Reconciliation, 300)
	accepted := r.Requests.Accepted
	if r.Requests.Sent != 300 || accepted+r.Requests.Refused != 300 || accepted == 0 {
		t.Errorf("requests: got %+v, want 300 sent, and accepted or refused", r.Requests)
	}
	if r.Answer.Count != accepted || r.Links.Count != accepted || len(r.Answer.Curve) == 0 || r.Answer.Max <= 0 {
		t.Errorf("latencies: got %d answers up to %v and %d links, want %d of each",
			r.Answer.Count, r.Answer.Max, r.Links.Count, accepted)
	}
	if r.Facade.Rooms < accepted || r.Facade.TicketFetches != 0 {
		t.Errorf("facade: got %+v, want %d rooms", r.Facade, accepted)
	}
	if len(r.Parts) != 1 || r.Parts[0].Name != "all" || r.Parts[0].CPUSeconds <= 0 || r.Parts[0].PeakMemory <= 0 {
		t.Errorf("parts: got %+v, want what all used", r.Parts)
	}
	if got := r.Settings["accounts"]; got != "3" {
		t.Errorf("settings: got accounts %q, want 3", got)
	}
	var sent, linked int
	for _, sample := range r.Series {
		sent, linked = sent+sample.Sent, linked+sample.Linked
	}
	if sent != 300 || linked != accepted {
		t.Errorf("series: got %d sent and %d linked, want 300 and %d", sent, linked, accepted)
	}
}

// The result and the report quote the flags, but no password.
func TestLoadSettingsHavePasswordsLeftOut(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&commandLine{}, kong.Groups{"account": "", "broker": "", "public": "", "operations": ""})
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"nats://roomlink:invented-password@nats:4222":        "nats://nats:4222",
		"nats://invented-token@a:4222,nats://u:invented@b:1": "nats://a:4222,nats://b:1",
		"nats://nats:4222": "nats://nats:4222",
	} {
		line, err := parser.Parse([]string{"load", "--nats-url=" + given})
		if err != nil {
			t.Fatal(err)
		}
		if got := givenFlags(line)["nats-url"]; got != want {
			t.Errorf("nats-url: got %q, want %q", got, want)
		}
	}
}

func TestLoadAtARate(t *testing.T) {
	t.Parallel()
	r := loadTestOf(t, "--rate=200", "--ramp=500ms", "--duration=2s", "--duplicates=20%",
		"--shapes=automation", "--facade-latency=5ms")
	// Half a second of the ramp is worth a quarter.
	if want := 350; r.Requests.Sent != want {
		t.Errorf("requests: got %d, want %d", r.Requests.Sent, want)
	}
	answered := r.Requests.Accepted + r.Requests.Duplicates + r.Requests.Refused
	if r.Requests.Duplicates == 0 || answered != r.Requests.Sent {
		t.Errorf("requests: got %+v, want some duplicates, and every other one answered", r.Requests)
	}
	wantConversations(t, r.Reconciliation, r.Reconciliation.Sent)
}

// TestLoadDeadLetters has auvious reject some of the calls.
func TestLoadDeadLetters(t *testing.T) {
	t.Parallel()
	r := loadTestOf(t, "--requests=200", "--facade-errors=30%", "--facade-status=422")
	wantConversations(t, r.Reconciliation, 200)
	if got := r.Reconciliation.DeadLettered; got == 0 || got > r.Facade.Failed {
		t.Errorf("dead letters: got %d, want one for each of the %d calls that were rejected", got, r.Facade.Failed)
	}
}

// TestLoadDrain has the worker start when all events wait.
func TestLoadDrain(t *testing.T) {
	t.Parallel()
	r := loadTestOf(t, "--drain=200", "--shapes=automation")
	wantConversations(t, r.Reconciliation, 200)
	if r.Drain <= 0 {
		t.Errorf("drain: got %v s, want more than none", r.Drain)
	}
}

// TestLoadResults prints, writes and compares what a load test found, and misses a
// threshold.
func TestLoadResults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	page, before := filepath.Join(dir, "report.html"), filepath.Join(dir, "before.json")
	code, out, log := command(t, nil, "load", "--json", "--requests=20", "--fail=rate<0.001", "--report="+page)
	if code != exitFailed || !strings.Contains(log, "rate<0.001") {
		t.Errorf("a missed threshold: got exit code %d, want %d and its name\n%s", code, exitFailed, log)
	}
	if html := readFile(t, page); !strings.Contains(html, "</html>") {
		t.Errorf("the report: got %d bytes, want a page", len(html))
	}
	if err := os.WriteFile(before, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, log = command(t, nil, "load", "--requests=20", "--fail=rate>0.001", "--compare="+before)
	if code != exitDone {
		t.Errorf("exit code: got %d, want %d\n%s", code, exitDone, log)
	}
	for _, want := range []string{"sent 20 = accepted ", "It adds up.", "met", "change"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table: got %s, want %q in it", out, want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--duration=0s"},
		{"--ramp=1s"},
		{"--accounts=0"},
		{"--duplicates=200%"},
		{"--shapes=voice"},
		{"--no-such-flag"},
		{"--fail=ratio>=0.8"},
		{"--apart", "--split"},
		{"--apart", "--drain=10"},
		{"--fail=sent<5"},
		{"--compare=load_test.go"},
		{"--report=" + filepath.Join(t.TempDir(), "none", "report.html")},
		{"--auvious-url=http://127.0.0.1:1"},
		{"--facade-errors=1%", "--facade-status=200"},
	} {
		if code, _, log := command(t, nil, append([]string{"load"}, args...)...); code != exitUsage {
			t.Errorf("%v: got exit code %d, want %d\n%s", args, code, exitUsage, log)
		}
	}
}

// TestLoadLeavesNothing wants the temporary directories gone.
func TestLoadLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, _, log := command(t, map[string]string{"TMPDIR": dir}, "load", "--requests=5"); code != exitDone {
		t.Fatalf("exit code: got %d, want %d\n%s", code, exitDone, log)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("temporary files: got %v, want none", left)
	}
}

// TestLoadSplit runs each part as a process.
func TestLoadSplit(t *testing.T) {
	t.Parallel()
	r := loadTestOf(t, "--split", "--requests=200")
	wantConversations(t, r.Reconciliation, 200)
	var names []string
	for _, part := range r.Parts {
		names = append(names, part.Name)
		if part.CPUSeconds < 0 || part.PeakMemory <= 0 {
			t.Errorf("part: got %+v, want what it used", part)
		}
	}
	slices.Sort(names)
	if want := []string{"auvious", "load", "nats", "webhook", "worker"}; !slices.Equal(names, want) {
		t.Errorf("parts: got %v, want %v", names, want)
	}
}

// TestLoadApart runs what is tested as one process, on a store that is not empty.
func TestLoadApart(t *testing.T) {
	t.Parallel()
	r := loadTestOf(t, "--apart", "--requests=200", "--preload-links=50")
	wantConversations(t, r.Reconciliation, 200)
	var names []string
	for _, part := range r.Parts {
		names = append(names, part.Name)
	}
	slices.Sort(names)
	if want := []string{"auvious", "load", "serve"}; !slices.Equal(names, want) {
		t.Errorf("parts: got %v, want %v", names, want)
	}
}

// TestLoadElsewhere runs the parts against a broker and an auvious that are none of
// the test's own.
func TestLoadElsewhere(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it runs load tests")
	a := programtest.StartAuvious(t, simulator.Config{})
	env := map[string]string{
		"ROOMLINK_AUVIOUS_CLIENT_ID":      programtest.AuviousClient,
		"ROOMLINK_AUVIOUS_CLIENT_SECRET":  programtest.AuviousSecret,
		"ROOMLINK_AUVIOUS_APPLICATION_ID": "simulated-application",
		// Neither is a test's business.
		"ROOMLINK_NATS_URL": "nats://127.0.0.1:1",
		"ROOMLINK_ACCOUNTS": "none.yaml",
	}
	for _, more := range [][]string{nil, {"--split"}, {"--apart"}} {
		args := append([]string{
			"load", "--json", "--requests=50", "--nats-url=" + startNATS(t), "--auvious-url=" + a.URL,
		}, more...)
		before := a.Stats().RoomsMade
		code, out, log := command(t, env, args...)
		if code != exitDone {
			t.Fatalf("%v: got exit code %d, want %d\n%s", more, code, exitDone, log)
		}
		var r load.Result
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("the output: got error %v, want JSON", err)
		}
		wantConversations(t, r.Reconciliation, 50)
		if got := a.Stats().RoomsMade - before; got != 50 {
			t.Errorf("%v: got %d rooms, want 50", more, got)
		}
		for _, secret := range []string{programtest.AuviousSecret, "/t/"} {
			if strings.Contains(out+log, secret) {
				t.Errorf("%v: %q is printed, want it nowhere", more, secret)
			}
		}
	}
}

// TestLoadChaos kills the parts of a load test, and wants it to add up.
func TestLoadChaos(t *testing.T) {
	t.Parallel()
	r := loadTestOf(t, "--chaos", "--rate=50", "--duration=6s")
	got := r.Reconciliation
	if got.Sent != 300 || got.Accepted+got.Refused+got.Unanswered != got.Sent || got.Accepted == 0 {
		t.Errorf("reconciliation: got %+v, want 300 conversations sent, and some accepted", got)
	}
	if got.Linked+got.DeadLettered != got.Accepted || got.Missing+got.Doubles+got.Waiting != 0 {
		t.Errorf("reconciliation: got %+v, want one end for each that was accepted", got)
	}
	if got.Orphans > got.OrphansAllowed {
		t.Errorf("orphans: got %d, want at most %d", got.Orphans, got.OrphansAllowed)
	}
	if r.Kills == 0 {
		t.Error("got no kills, want some")
	}
}

// stopper ends a context with the first thing that is written to it.
type stopper context.CancelFunc

// Write implements [io.Writer].
func (s stopper) Write(data []byte) (int, error) {
	s()
	return len(data), nil
}

// TestLoadStops ends a load test early.
func TestLoadStops(t *testing.T) {
	t.Parallel()
	roomlinktest.SkipIfShort(t, "it runs a load test")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out strings.Builder
	code := run(ctx, []string{"load", "--json", "--rate=50", "--duration=1h", "--sync=2m"}, app.Environment{
		Lookup: func(string) (string, bool) { return "", false }, Environ: os.Environ,
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: stopper(stop),
	})
	if code != exitDone {
		t.Fatalf("exit code: got %d, want %d", code, exitDone)
	}
	var r load.Result
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("the output: got error %v, want JSON\n%s", err, out.String())
	}
	if r.Requests.Sent == 0 {
		t.Error("got no requests, want those before the stop")
	}
	wantConversations(t, r.Reconciliation, r.Requests.Sent)
}

// TestLoadStopsWhileItStarts ends a load test that waits for a broker.
func TestLoadStopsWhileItStarts(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	code := run(ctx, []string{"load", "--nats-url=nats://127.0.0.1:1", "--duration=1s"}, app.Environment{
		Lookup: func(string) (string, bool) { return "", false }, Environ: os.Environ,
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
	})
	if code == exitUsage {
		t.Errorf("exit code: got %d, want that of a stop", code)
	}
}
