package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"roomlink/internal/load"
	"roomlink/internal/load/report"
)

func html(t *testing.T, r load.Result) string {
	t.Helper()
	var written bytes.Buffer
	if err := report.HTML(&written, r); err != nil {
		t.Fatalf("writing a report: %v", err)
	}
	return written.String()
}

// lost returns a result with many faults.
func lost() load.Result {
	r := run(90, 0.05)
	r.Kills = 3
	for at := 41; at < 50; at++ {
		r.Series[at] = load.Sample{At: at, Sent: 2000, Failed: 2000, Queue: -1}
	}
	r.Reconciliation = load.Reconciliation{
		Sent: 180_000, Accepted: 162_000, Refused: 18_000, Linked: 161_980, DeadLettered: 5, Missing: 15,
		Doubles: 1, Orphans: 4, OrphansAllowed: 2, Waiting: 3,
	}
	r.Reconcile()
	r.Thresholds = []load.Threshold{{Expression: "p99<50ms", Found: 0.0671, Unit: load.Seconds}, {Expression: "drain<1s", Unknown: true}}
	return r
}

// edges returns results with extreme values.
func edges() map[string]load.Result {
	one := load.Result{
		Requests: load.Requests{Sent: 1, Accepted: 1}, Duration: 0.05, AcceptedPerSecond: 20, LinkedPerSecond: 19,
		Answer: load.Latency{Count: 1, Mean: 0.001, P50: 0.001, P90: 0.001, P99: 0.001, P999: 0.001, Max: 0.001},
		Links:  load.Latency{Count: 1}, // the links came before the answer
		Series: []load.Sample{{Sent: 1, Accepted: 1, Linked: 1, AnswerP50: 0.001, AnswerP99: 0.001}},
		Reconciliation: load.Reconciliation{
			Sent: 1, Accepted: 1, Linked: 1,
		},
	}
	unlinked := run(5, 0)
	unlinked.Links, unlinked.LinkedPerSecond = load.Latency{}, 0
	for i := range unlinked.Series {
		unlinked.Series[i].LinksP50, unlinked.Series[i].LinksP99 = 0, 0
	}
	var empty load.Result
	empty.Reconcile()
	drained := run(10, 3)
	drained.Drain = 12.5
	long := run(4*3600+1, 0.05)
	return map[string]load.Result{
		"sample": sample(), "lost": lost(), "empty": empty, "one": one, "unlinked": unlinked, "drained": drained, "long": long,
	}
}

// TestHTMLIsSelfContained wants every page well formed and small, with unique ids, and
// without anything that a browser would load.
func TestHTMLIsSelfContained(t *testing.T) {
	outside := regexp.MustCompile(`(?i)<script|<link|<img|<iframe|\b(src|href|action)=|url\(|@import|https?:`)
	broken := regexp.MustCompile(`NaN|Inf\b|ZgotmplZ|%!|<no value>`)
	void := regexp.MustCompile(`<meta [^>]*>`)
	ids := regexp.MustCompile(` id="([^"]*)"`)
	for name, r := range edges() {
		page := html(t, r)
		if found := outside.FindString(page); found != "" {
			t.Errorf("%s: got %q, want nothing from outside", name, found)
		}
		if found := broken.FindString(page); found != "" {
			t.Errorf("%s: got %q, want no such value", name, found)
		}
		seen := map[string]bool{}
		for _, id := range ids.FindAllStringSubmatch(page, -1) {
			if seen[id[1]] {
				t.Errorf("%s: got the id %q twice, want it once", name, id[1])
			}
			seen[id[1]] = true
		}
		decoder := xml.NewDecoder(strings.NewReader(void.ReplaceAllString(page, "")))
		for {
			_, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s: got %v, want balanced elements", name, err)
				break
			}
		}
		if len(page) > 300_000 {
			t.Errorf("%s: got %d bytes, want a page that can be mailed", name, len(page))
		}
	}
}

func TestHTMLOfHostileTexts(t *testing.T) {
	r := sample()
	hostile := `"></style><script>alert(1)</script><img src=x onerror=alert(1)>`
	r.Version, r.Machine.OS, r.Machine.Go = hostile, hostile, hostile
	r.Settings[hostile], r.Settings["facade-latency"] = hostile, hostile
	r.Parts[0].Name = hostile
	r.Thresholds[0].Expression = hostile
	r.Reconciliation.Faults = []string{hostile}
	page := html(t, r)
	if strings.Contains(page, "<script") || strings.Contains(page, "<img") || strings.Count(page, "</style>") != 1 {
		t.Errorf("got markup from a text, want it escaped")
	}
	if want := "&lt;script&gt;alert(1)"; !strings.Contains(page, want) {
		t.Errorf("got no %q, want the text shown as it was written", want)
	}
}

func TestHTMLContents(t *testing.T) {
	charts := func(page string) int { return strings.Count(page, "<figure>") }
	for name, test := range map[string]struct {
		charts int
		want   []string
	}{
		"sample":   {6, []string{">passed<", "facade</text>", "without the facade&#39;s 50 ms", "120,000</b> sent"}},
		"lost":     {6, []string{">failed<", "failed</text>", "≠", "15</b> missing", "not measured", ">missed<"}},
		"empty":    {0, []string{">failed<", "Nothing was sent."}},
		"one":      {6, []string{"<circle ", ">passed<"}},
		"unlinked": {4, []string{"<td>–</td>"}},
		"drained":  {6, []string{"to drain the queue", "drain: 12.5 s"}},
		"long":     {6, []string{"average of each 2 min", "4\u00a0h: every", " h</text>"}},
	} {
		page := html(t, edges()[name])
		if got := charts(page); got != test.charts {
			t.Errorf("%s: got %d plots, want %d", name, got, test.charts)
		}
		for _, want := range test.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: got no %q, want it", name, want)
			}
		}
	}
}

func TestHeadline(t *testing.T) {
	headline := regexp.MustCompile(`<h1>(.*)</h1>`)
	const ran = "2,000 events per second for 60 s"
	for _, test := range []struct {
		name   string
		change func(*load.Result)
		want   string
	}{
		{"held", func(*load.Result) {}, ran + ": every conversation got its links; half within 53 ms, 99 % within 67 ms."},
		{"killed", func(r *load.Result) { r.Kills = 1 }, ran + ", with 1 part killed: every conversation got its links; half within 53 ms, 99 % within 67 ms."},
		{
			"refused", func(r *load.Result) { r.Reconciliation.Refused, r.Reconciliation.Unanswered = 1200, 1 },
			ran + ": every accepted conversation got its links, 1,200 were refused, 1 got no answer; half within 53 ms, 99 % within 67 ms.",
		},
		{
			"dead letters", func(r *load.Result) { r.Reconciliation.DeadLettered, r.Links = 7, load.Latency{} },
			ran + ": every conversation got its links or its dead letter (7).",
		},
		{
			"drained", func(r *load.Result) { r.Drain = 12.52 },
			ran + ": every conversation got its links; the worker drained the queue in 12.5 s.",
		},
		{
			"slow", func(r *load.Result) {
				r.AcceptedPerSecond, r.Duration = 12.52, 2.55
				r.Links.P50, r.Links.P99 = 0.00121, 71.2
				r.Thresholds = []load.Threshold{{Met: true}, {}}
			}, "12.5 events per second for 2.5 s: every conversation got its links; half within 1.21 ms, 99 % within 71.2 s. But it missed 1 of 2 thresholds.",
		},
		{"a fault", func(r *load.Result) { r.Reconciliation.Faults = []string{"One is lost."} }, ran + ": it does not add up. One is lost."},
		{
			"faults", func(r *load.Result) { r.Reconciliation.Faults = []string{"One is lost.", "Two.", "Three."} },
			ran + ": it does not add up. One is lost. And 2 more.",
		},
	} {
		r := run(60, 0.0505)
		test.change(&r)
		got := headline.FindStringSubmatch(html(t, r))[1]
		if got = strings.ReplaceAll(got, "\u00a0", " "); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestTablesOfEdges(t *testing.T) {
	for name, r := range edges() {
		for _, got := range []string{table(t, r), compared(t, r, sample()), compared(t, sample(), r)} {
			if strings.Contains(got, "NaN") || strings.Contains(got, "Inf") || strings.Contains(got, "%!") {
				t.Errorf("%s: got\n%s\nwant no NaN or Inf", name, got)
			}
		}
	}
}

func TestHTMLReturnsErrors(t *testing.T) {
	full := errors.New("the disk is full")
	if err := report.HTML(brokenWriter{full}, sample()); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}

// FuzzRead shows every readable result in every form.
func FuzzRead(f *testing.F) {
	small := run(2, 0.05)
	small.Answer.Curve, small.Links.Curve = nil, small.Links.Curve[:3]
	small.Thresholds = []load.Threshold{{Expression: "p99<50ms", Found: 0.0671, Unit: load.Seconds}}
	for _, r := range []load.Result{{}, small} {
		written, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(written)
	}
	f.Fuzz(func(t *testing.T, written []byte) {
		r, err := load.Read(bytes.NewReader(written))
		if err != nil {
			if !errors.Is(err, load.ErrNotAResult) {
				t.Errorf("got %v, want an ErrNotAResult", err)
			}
			return
		}
		r.Reconcile()
		for name, err := range map[string]error{
			"table": report.Table(io.Discard, r), "comparison": report.Compare(io.Discard, r, r), "page": report.HTML(io.Discard, r),
		} {
			if err != nil {
				t.Errorf("%s: got %v, want none", name, err)
			}
		}
	})
}

// TestPages writes a page for each edge to the folder ROOMLINK_REPORTS, to be looked at.
func TestPages(t *testing.T) {
	folder := os.Getenv("ROOMLINK_REPORTS")
	if folder == "" {
		t.Skip("ROOMLINK_REPORTS names no folder")
	}
	for name, r := range edges() {
		if r.StartedAt.IsZero() {
			r.StartedAt = time.Date(2026, time.November, 25, 21, 30, 0, 0, time.UTC)
		}
		path := filepath.Join(folder, strings.ReplaceAll(name, " ", "-")+".html")
		if err := os.WriteFile(path, []byte(html(t, r)), 0o644); err != nil {
			t.Fatalf("writing a page: %v", err)
		}
	}
}
