package app_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"roomlink/internal/app"
	"roomlink/internal/programtest"
	"roomlink/internal/roomlinktest"
	"roomlink/internal/simulator"
	"roomlink/internal/talkdesk"
)

var update = flag.Bool("update", false, "print docs/metrics.md from the registry")

const metricsPath = "../../docs/metrics.md"

const metricsIntroduction = `# Metrics

<!-- Printed from the program: go test ./internal/app -run TestMetricsDocument -update -->

` + "`/metrics` of `ROOMLINK_OPS_LISTEN`" + ` shows them. A process shows those of its parts, so only ` + "`roomlink serve`" + ` shows all. The first 100 accounts have a label of their own, and all others share ` + "`other`" + `.
Every series exists from the start. While the broker is away, what is read from it keeps its last value.

| metric | type | labels | meaning |
|---|---|---|---|
`

// embeddedMetrics are those of the embedded broker.
var embeddedMetrics = []string{"roomlink_disk_free_bytes", "roomlink_store_missing_events"}

// exposition is what /metrics shows of roomlink's own metrics.
type exposition struct {
	help, kinds map[string]string
	// series have their labels, and labels their names by metric.
	series []string
	labels map[string]string
}

func (e exposition) names() []string { return slices.Sorted(maps.Keys(e.help)) }

var (
	sample    = regexp.MustCompile(`^(roomlink_[a-z_]+)(\{.*\})? [^ ]+$`)
	labelName = regexp.MustCompile(`([a-z_]+)="`)
	suffix    = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// expose reads /metrics of a program.
func expose(t *testing.T, program *app.App) exposition {
	t.Helper()
	operations := talkdesk.Client{URL: "http://" + program.OperationsAddress()}
	status, text, err := operations.Get(roomlinktest.Context(t), "/metrics")
	if err != nil || status != http.StatusOK {
		t.Fatalf("reading the metrics: got %d and error %v, want 200", status, err)
	}
	e := exposition{help: map[string]string{}, kinds: map[string]string{}, labels: map[string]string{}}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		words := strings.SplitN(line, " ", 4)
		switch {
		case len(words) == 4 && words[1] == "HELP" && strings.HasPrefix(words[2], "roomlink_"):
			e.help[words[2]] = words[3]
		case len(words) == 4 && words[1] == "TYPE" && strings.HasPrefix(words[2], "roomlink_"):
			e.kinds[words[2]] = words[3]
		}
		match := sample.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		e.series = append(e.series, match[1]+match[2])
		name := match[1]
		if e.help[name] == "" {
			name = suffix.ReplaceAllString(name, "")
		}
		var names []string
		for _, label := range labelName.FindAllStringSubmatch(match[2], -1) {
			if label[1] != "le" {
				names = append(names, "`"+label[1]+"`")
			}
		}
		e.labels[name] = strings.Join(names, ", ")
	}
	slices.Sort(e.series)
	return e
}

// document returns docs/metrics.md.
func (e exposition) document() string {
	var b strings.Builder
	b.WriteString(metricsIntroduction)
	for _, name := range e.names() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, e.kinds[name], e.labels[name], e.help[name])
	}
	b.WriteString("\nGo's own metrics and those of the process are there too.\n")
	return b.String()
}

// A fresh process shows the metrics of docs/metrics.md, and the same series under traffic.
func TestMetricsDocument(t *testing.T) {
	auvious := programtest.StartAuvious(t, simulator.Config{})
	ctx, stop := context.WithCancel(roomlinktest.Context(t))
	program, err := serve(ctx, t, auvious.URL)
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	defer func() {
		stop()
		if err := program.Wait(); err != nil {
			t.Errorf("stopping: got error %v, want none", err)
		}
	}()
	fresh := expose(t, program)
	if *update {
		if err := os.WriteFile(metricsPath, []byte(fresh.document()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	document, err := os.ReadFile(metricsPath)
	if err != nil || string(document) != fresh.document() {
		t.Errorf("docs/metrics.md is not what the registry says (error %v): run "+
			"\"go test ./internal/app -run TestMetricsDocument -update\"", err)
	}
	client := talkdesk.Client{URL: program.URL(), Key: programtest.APIKey}
	body, err := talkdesk.Automation.Sample("counted")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, answer, err := client.PostEvent(ctx, body); err != nil {
			t.Errorf("posting: got %s and error %v, want none", answer, err)
		}
	}
	for _, path := range []string{"/links/counted?wait=10s", "/links/nobody", "/card/no-token", "/nowhere", "/assets/none"} {
		if _, _, err := client.Get(ctx, path); err != nil {
			t.Errorf("reading %s: got error %v, want none", path, err)
		}
	}
	busy := expose(t, program)
	if !slices.Equal(busy.series, fresh.series) {
		t.Errorf("series under traffic: got %q more than %q, want the same", without(busy.series, fresh.series), without(fresh.series, busy.series))
	}
	for _, name := range busy.names() {
		if !strings.Contains(busy.help[name], "processes") && !strings.Contains(busy.help[name], "Each process") {
			t.Errorf("help of %s: got %q, want what to do with the values of several processes", name, busy.help[name])
		}
	}
}

// A process whose broker is gone shows the same series.
func TestMetricsWithoutBroker(t *testing.T) {
	auvious := programtest.StartAuvious(t, simulator.Config{})
	nats := roomlinktest.StartServer(t)
	ctx, stop := context.WithCancel(roomlinktest.Context(t))
	program, err := serve(ctx, t, auvious.URL, "--nats-url="+nats.ClientURL(), "--replicas=1")
	if err != nil {
		t.Fatalf("starting: %v", err)
	}
	defer func() {
		stop()
		_ = program.Wait()
	}()
	before := expose(t, program)
	document, err := os.ReadFile(metricsPath)
	if err != nil {
		t.Fatal(err)
	}
	for match := range strings.Lines(string(document)) {
		name, found := strings.CutPrefix(match, "| `")
		name, _, _ = strings.Cut(name, "`")
		if found && before.help[name] == "" && !slices.Contains(embeddedMetrics, name) {
			t.Errorf("on an external broker: got no %s, want it", name)
		}
	}
	nats.Shutdown()
	nats.WaitForShutdown()
	after := expose(t, program)
	if !slices.Equal(after.series, before.series) {
		t.Errorf("series without the broker: got %q more than %q, want the same",
			without(after.series, before.series), without(before.series, after.series))
	}
}

// without returns the texts that are not among others.
func without(texts, others []string) []string {
	return slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return slices.Contains(others, text) })
}
