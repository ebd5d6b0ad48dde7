package report_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"roomlink/internal/load"
	"roomlink/internal/load/report"
)

func ExampleTable() {
	p99, err := load.ParseCondition("p99<500ms")
	if err != nil {
		log.Fatal(err)
	}
	result := load.Result{
		Duration: 30, AcceptedPerSecond: 500, LinkedPerSecond: 499.1,
		Requests:       load.Requests{Sent: 15_000, Accepted: 15_000},
		Answer:         load.Latency{Count: 15_000, P50: 0.0009, P90: 0.0014, P99: 0.0031, P999: 0.0082, Max: 0.0213},
		Links:          load.Latency{Count: 15_000, P50: 0.0521, P90: 0.0544, P99: 0.0613, P999: 0.0718, Max: 0.1042},
		Parts:          []load.Part{{Name: "all", CPUSeconds: 4.8, CPUPerThousand: 0.32, PeakMemory: 84_000_000}},
		Facade:         load.Facade{Counted: true, Calls: 15_000, Rooms: 15_000, TokenCalls: 1},
		Reconciliation: load.Reconciliation{Sent: 15_000, Accepted: 15_000, Linked: 15_000},
	}
	result.Reconcile()
	result.Judge([]load.Condition{p99})
	if err := report.Table(os.Stdout, result); err != nil {
		log.Fatal(err)
	}
	fmt.Println("\npassed:", result.Passed())
	// Output:
	// events per second  over 30 s
	// accepted                 500
	// linked                   499
	//
	// latency             50 %     90 %     99 %   99.9 %    100 %
	// answer           0.90 ms  1.40 ms  3.10 ms  8.20 ms  21.3 ms
	// answer to links  52.1 ms  54.4 ms  61.3 ms  71.8 ms   104 ms
	//
	// part  CPU seconds  per 1,000 events  peak memory
	// all           4.8             0.320      84.0 MB
	//
	// requests: 15,000 sent, 15,000 accepted, 0 duplicates, 0 refused, 0 unanswered, 0 late
	// facade: 15,000 calls (0 failed), 15,000 rooms, 1 token call, 0 tickets fetched
	//
	// sent 15,000 = accepted 15,000 + refused 0 + unanswered 0
	// accepted 15,000 = linked 15,000 + dead-lettered 0 + missing 0
	// doubles 0, orphans 0 (0 allowed), waiting 0
	// It adds up.
	//
	// threshold    found
	// p99<500ms  61.3 ms  met
	//
	// passed: true
}

func ExampleCompare() {
	old := load.Result{
		Version: "v1.0.0", StartedAt: time.Date(2026, time.November, 24, 9, 30, 0, 0, time.UTC), Duration: 30,
		AcceptedPerSecond: 500, LinkedPerSecond: 499, Settings: map[string]string{"rate": "500"},
		Links: load.Latency{Count: 15_000, P50: 0.052, P90: 0.055, P99: 0.061, P999: 0.072, Max: 0.104},
	}
	now := old
	now.StartedAt = old.StartedAt.Add(24 * time.Hour)
	now.Settings = map[string]string{"rate": "600"}
	now.AcceptedPerSecond, now.LinkedPerSecond, now.Links.P99 = 600, 598, 0.083
	if err := report.Compare(os.Stdout, old, now); err != nil {
		log.Fatal(err)
	}
	// Output:
	// old  2026-11-24 09:30 UTC, v1.0.0, 30 s, passed
	// new  2026-11-25 09:30 UTC, v1.0.0, 30 s, passed
	//
	// The two load tests differ in their conditions:
	//   --rate: 500, now 600
	//
	//                              old      new   change
	// accepted per second          500      600  +20.0 %
	// linked per second            499      598  +19.8 %
	// answer to links, 50 %    52.0 ms  52.0 ms    0.0 %
	// answer to links, 90 %    55.0 ms  55.0 ms    0.0 %
	// answer to links, 99 %    61.0 ms  83.0 ms  +36.1 %  WORSE
	// answer to links, 99.9 %  72.0 ms  72.0 ms    0.0 %
	// answer to links, 100 %    104 ms   104 ms    0.0 %
	// refused                        0        0    0.0 %
	// unanswered                     0        0    0.0 %
	// dead-lettered                  0        0    0.0 %
}
